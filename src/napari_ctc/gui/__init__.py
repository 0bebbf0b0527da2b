"""The window: docks, layers and the bridge from jobs to threads. The only room that knows napari and Qt."""
