"""What turns an image, or a row of columns, into features."""
