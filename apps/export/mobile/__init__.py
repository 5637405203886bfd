"""Files for phones: TFLite, Core ML and ExecuTorch, by libraries that are imported where they are needed."""
