"""Text of PDF files."""

import pypdfium2


def pdf_pages(path):
    """The text of each page, in one line each."""
    with pypdfium2.PdfDocument(path) as document:
        return [" ".join(page.get_textpage().get_text_bounded().split()) for page in document]
