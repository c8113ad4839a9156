"""Files of rows to columns of text: CSV and similar, workbooks, Parquet, JSON lines, YAML, and rows from Python.

Knows nothing of recipients: which column means what is for `sender.recipients.columns`.
"""

from __future__ import annotations

from sender.recipients.readers.cells import cell_text, table_of_items
from sender.recipients.readers.delimited import SEPARATORS
from sender.recipients.readers.frames import table_of_frame
from sender.recipients.readers.read import read_table
from sender.recipients.readers.source import FileSource
from sender.recipients.readers.table import Table

__all__ = ["SEPARATORS", "FileSource", "Table", "cell_text", "read_table", "table_of_frame", "table_of_items"]
