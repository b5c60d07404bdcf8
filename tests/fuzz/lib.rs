//! What the fuzz targets try: the same properties as `tests/mutated_input.rs`.

pub mod properties;
