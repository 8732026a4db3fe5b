"""How anything is read or written whole: atomic files, HDF5, tables, Orbax."""
