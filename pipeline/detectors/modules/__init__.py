"""Parts of networks that several families use."""
