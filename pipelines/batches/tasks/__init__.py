"""What a clip can be asked in training: one file a task, one line a task in `config.stages.TASKS`."""
