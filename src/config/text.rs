//! A file's bytes as text, and the text as documents, before YAML has a say.
//!
//! Documents are parted here, at the lines that begin with `---`, so that a fault in one of them
//! hides nothing in the others.

use std::ops::Range;

use crate::diagnostic::{Diagnostic, FileId, Span};

/// A file may be as large as this.
pub const LARGEST_FILE: usize = 8 << 20;

/// The text of a file, as far as it is one, and what is wrong with it. A file with findings here is
/// not read further.
pub fn decode(bytes: Vec<u8>, file: FileId) -> (String, Option<Diagnostic>) {
    let (text, invalid) = match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            (
                String::from_utf8_lossy(error.as_bytes()).into_owned(),
                Some(at),
            )
        }
    };
    let refuse = |at: usize, length: usize, message: &str, help: &str| {
        let span = Span {
            file,
            start: at as u32,
            end: (at + length) as u32,
        };
        Some(Diagnostic::error("R0101", span, message).help(help))
    };
    let finding = if let Some(at) = invalid {
        let help = "save the file as UTF-8";
        refuse(at, 3, "the file is not UTF-8", help)
    } else if text.len() > LARGEST_FILE {
        let span = Span {
            file,
            start: 0,
            end: 0,
        };
        Some(
            Diagnostic::error("R0105", span, "the file is larger than 8MiB")
                .help("a folder may hold any number of files: part it"),
        )
    } else if text.starts_with('\u{feff}') {
        let help = "save the file as UTF-8 without a byte order mark";
        refuse(0, 3, "the file begins with a byte order mark", help)
    } else if let Some((at, byte)) = control(&text) {
        let message = format!("the control character U+{byte:04X} has no place in a file");
        let help = "remove it; in double quotes it can be written `\\x00` with its number";
        refuse(at, 1, &message, help)
    } else {
        None
    };
    (text, finding)
}

/// The first control character but tab and the ends of lines.
fn control(text: &str) -> Option<(usize, u8)> {
    let bytes = text.as_bytes();
    bytes
        .iter()
        .enumerate()
        .find(|(at, byte)| match byte {
            b'\t' | b'\n' => false,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            0x00..0x20 | 0x7f => true,
            _ => false,
        })
        .map(|(at, byte)| (at, *byte))
}

/// The ranges of the documents, each from its `---` on. What holds only comments and directives
/// before the first `---` is none.
pub fn documents(text: &str) -> Vec<Range<usize>> {
    let mut starts = vec![0];
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if offset > 0 && is_marker(line) {
            starts.push(offset);
        }
        offset += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| start..end)
        .filter(|range| !is_empty(&text[range.clone()]))
        .collect()
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_empty(document: &str) -> bool {
    document.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line == "---" || line == "..." || line.starts_with(['#', '%'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_part_at_their_markers() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            let found: Vec<&str> = documents(text).into_iter().map(|r| &text[r]).collect();
            assert_eq!(found, expected);
        }
        check("a: 1\n", &["a: 1\n"]);
        check("a: 1\n---\nb: 1\n", &["a: 1\n", "---\nb: 1\n"]);
        check(
            "---\na: 1\n--- # x\nb: 1",
            &["---\na: 1\n", "--- # x\nb: 1"],
        );
        check("# c\n---\na: 1\n---\n", &["---\na: 1\n"]);
        check("a: 1\r\n---\r\nb: 1\r\n", &["a: 1\r\n", "---\r\nb: 1\r\n"]);
        check("a: |\n  ---\n  x\n", &["a: |\n  ---\n  x\n"]);
        check("---x: 1\n", &["---x: 1\n"]);
        check("%YAML 1.2\n---\na: 1\n", &["---\na: 1\n"]);
        check("", &[]);
        check("# nothing\n", &[]);
    }

    #[test]
    fn what_is_no_text_is_refused_at_its_place() {
        #[track_caller]
        fn check(bytes: &[u8], expected: Option<(&str, u32)>) {
            let (_, finding) = decode(bytes.to_vec(), FileId(0));
            assert_eq!(finding.map(|f| (f.code, f.span.start)), expected);
        }
        check(b"a: 1\r\n\tb\n", None);
        check("ä: ü\n".as_bytes(), None);
        check(b"a: \xff\n", Some(("R0101", 3)));
        check(b"\xef\xbb\xbfa: 1\n", Some(("R0101", 0)));
        check(b"a: \0\n", Some(("R0101", 3)));
        check(b"a: 1\rb: 2\n", Some(("R0101", 4)));
        check(b"a: \x1b[1m\n", Some(("R0101", 3)));
        check(&vec![b'a'; LARGEST_FILE + 1], Some(("R0105", 0)));
    }
}
