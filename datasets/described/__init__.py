"""Photos with a description each: metadata.jsonl, Parquet files with images, tar shards, tables of labels."""
