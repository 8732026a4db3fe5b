"""Tables of stars as users have them: one reader for every option that takes one.

CSV (comma, tab, semicolon, bar; any line ends), ECSV, FITS (several tables; ColFITS),
VOTable (several TABLEs), Parquet, Feather, HDF5 (flat, astropy's, vaex's, pandas') and
folders of such, among them HATS catalogues; text, FITS, HDF5 and VOTables may be gzipped.
What a file is, is told by its content.
"""

from aspgap_jax.survey.tables.folders import table_files
from aspgap_jax.survey.tables.names import find_columns
from aspgap_jax.survey.tables.read import (
    Block,
    Unfit,
    Wanted,
    Whole,
    read_blocks,
    read_whole,
)
from aspgap_jax.survey.tables.remarks import Remarks
from aspgap_jax.survey.tables.values import Place, numbers, source_ids

__all__ = [
    "Block",
    "Place",
    "Remarks",
    "Unfit",
    "Wanted",
    "Whole",
    "find_columns",
    "numbers",
    "read_blocks",
    "read_whole",
    "source_ids",
    "table_files",
]
