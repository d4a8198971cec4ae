//! What is changed in a document after a fault of syntax, so that the faults after it are found too.

use std::ops::Range;

use crate::config::trap::{Explained, Repair};

/// A document with more lines at fault than this is not read to its end.
const MOST_REPAIRS: usize = 50;
/// Nor is it, when reading it again and again comes to more bytes than this.
const MOST_READ: usize = 32 << 20;

/// What was changed in a document so that it can be read to its end.
pub struct Repairs<'r> {
    original: &'r str,
    pub range: Range<usize>,
    /// The document as it is read now, every byte in its place.
    pub text: String,
    /// Where values were taken out, in the file.
    pub removed: Vec<Range<usize>>,
    without_tabs: bool,
}

impl Repairs<'_> {
    pub fn new(original: &str, range: Range<usize>) -> Repairs<'_> {
        Repairs {
            original,
            text: original[range.clone()].to_owned(),
            range,
            removed: Vec::new(),
            without_tabs: false,
        }
    }

    /// Whether a fault only follows from one that was found before.
    pub fn explain(&self, fault: &Explained) -> bool {
        let line = &fault.line;
        let with_tabs = self.without_tabs && self.original[line.clone()].contains('\t');
        let is_after = |value: &Range<usize>| fault.finding.span.start as usize > value.end;
        let is_another = |value: &Range<usize>| fault.finding.code == "R0103" && is_after(value);
        with_tabs
            || self.removed.iter().any(|value| {
                line.start <= value.start && value.start <= line.end && !is_another(value)
            })
    }

    /// Whether there is now a chance to read further.
    pub fn make(&mut self, repair: Repair) -> bool {
        if self.removed.len() >= MOST_REPAIRS.min(MOST_READ / self.text.len().max(1)) {
            return false;
        }
        match repair {
            Repair::Tabs if self.without_tabs => false,
            Repair::Tabs => {
                self.without_tabs = true;
                self.text = self.text.replace('\t', " ");
                true
            }
            Repair::TakeOut(value) => {
                if value.is_empty() || self.removed.contains(&value) {
                    return false;
                }
                let start = value.start - self.range.start;
                let length = value.len();
                blank(&mut self.text, start..start + length);
                self.removed.push(value);
                true
            }
        }
    }
}

/// Puts `~` in place of a value, and as many spaces as keep every byte and line after it in place.
fn blank(text: &mut String, value: Range<usize>) {
    let filler: String = text[value.clone()]
        .bytes()
        .enumerate()
        .map(|(at, byte)| match (at, byte) {
            (0, _) => '~',
            (_, b'\n' | b'\r') => char::from(byte),
            _ => ' ',
        })
        .collect();
    text.replace_range(value, &filler);
}
