"""Where videosieve meets other libraries; import the one you need, e.g. `videosieve.integrations.diffusers`."""
