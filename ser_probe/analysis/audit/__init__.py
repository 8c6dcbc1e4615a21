"""What in the data itself would make results false. Tables in, tables out."""
