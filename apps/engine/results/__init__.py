"""Answers in the forms of other tools: rows, COCO's files, Label Studio's tasks."""
