//! Header blocks as fields.

use super::integer;
use super::table::{Hash, STATIC, Table};
use super::{HpackError, TABLE_SIZE, huffman};

/// The receiving side of a connection.
#[derive(Debug)]
pub(in super::super) struct Decoder {
    table: Table,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    pub(in super::super) fn new() -> Self {
        Self { table: Table::new(TABLE_SIZE), name: Vec::new(), value: Vec::new() }
    }

    /// Hands the fields of a whole block to `each`, in order.
    pub(in super::super) fn decode(
        &mut self,
        mut block: &[u8],
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), HpackError> {
        let mut begun = false;
        while let Some(&first) = block.first() {
            if first & 0x80 != 0 {
                let (name, value) = self.field(integer::read(&mut block, 7)?)?;
                each(name, value);
            } else if first & 0x40 != 0 {
                let (name, value) = self.literal(&mut block, 6)?;
                each(name.get(&self.name), value.get(&self.value));
                self.table.insert(name.get(&self.name), value.get(&self.value), Hash::default());
            } else if first & 0x20 != 0 {
                let size = integer::read(&mut block, 5)?;
                if begun || size > TABLE_SIZE {
                    return Err(HpackError::TableSize);
                }
                self.table.set_limit(size);
                continue;
            } else {
                let (name, value) = self.literal(&mut block, 4)?;
                each(name.get(&self.name), value.get(&self.value));
            }
            begun = true;
        }
        Ok(())
    }

    fn field(&self, index: usize) -> Result<(&[u8], &[u8]), HpackError> {
        match index.checked_sub(1) {
            None => Err(HpackError::Index),
            Some(nth) if nth < STATIC.len() => Ok(STATIC[nth]),
            Some(nth) => self.table.get(nth - STATIC.len()).ok_or(HpackError::Index),
        }
    }

    fn literal<'b>(&mut self, block: &mut &'b [u8], bits: u32) -> Result<(Text<'b>, Text<'b>), HpackError> {
        let name = match integer::read(block, bits)? {
            0 => text(block, &mut self.name)?,
            index if index <= STATIC.len() => Text::Lent(STATIC[index - 1].0),
            index => {
                // Copied: inserting the new field may push this entry out (RFC 7541, 4.4).
                let (name, _) = self.table.get(index - STATIC.len() - 1).ok_or(HpackError::Index)?;
                self.name.clear();
                self.name.extend_from_slice(name);
                Text::Kept
            }
        };
        Ok((name, text(block, &mut self.value)?))
    }
}

/// A string, where it lies.
#[derive(Clone, Copy)]
enum Text<'b> {
    /// In the block, or in the static table.
    Lent(&'b [u8]),
    /// In the decoder's own memory.
    Kept,
}

impl<'b> Text<'b> {
    fn get<'t>(self, kept: &'t [u8]) -> &'t [u8]
    where
        'b: 't,
    {
        match self {
            Text::Lent(text) => text,
            Text::Kept => kept,
        }
    }
}

/// Reads a string (RFC 7541, 5.2).
fn text<'b>(block: &mut &'b [u8], kept: &mut Vec<u8>) -> Result<Text<'b>, HpackError> {
    let is_coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer::read(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(HpackError::Truncated)?;
    *block = rest;
    if !is_coded {
        return Ok(Text::Lent(text));
    }
    kept.clear();
    huffman::decode(text, kept)?;
    Ok(Text::Kept)
}
