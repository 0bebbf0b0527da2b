"""`python -m napari_ctc` is `napari-ctc`."""

from napari_ctc.cli import main

main()
