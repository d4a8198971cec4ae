//! `${…}` in scalars: what is filled in is only ever text.
//!
//! The text that goes on to the templates holds a placeholder character for each fill, so that
//! nothing which comes from outside is ever looked into, and no finding can show it.

use std::path::{Path, PathBuf};

use crate::config::node::{FIRST_PLACEHOLDER, MOST_FILLS, Origin, Text, placeholder};
use crate::config::scalar::Trace;
use crate::diagnostic::{Diagnostic, FileId, Span};

/// A file that `${file:…}` names may be as large as this.
const LARGEST_FILL: u64 = 1 << 20;

/// Where the values come from: variables by their name, files from the folder of the document.
pub struct Sources<'s> {
    pub variable: &'s dyn Fn(&str) -> Option<String>,
    pub folder: &'s Path,
}

/// What filling one scalar came to.
pub struct Filled {
    /// None if a finding was made.
    pub text: Option<Text>,
    pub findings: Vec<Diagnostic>,
    /// The files that were named, found or not.
    pub named: Vec<PathBuf>,
}

/// Whether there is anything to do in `text`.
pub fn is_needed(text: &str) -> bool {
    text.contains("${") || text.contains(is_placeholder)
}

fn is_placeholder(character: char) -> bool {
    placeholder(character).is_some()
}

/// Fills in every `${…}` of a scalar whose bytes stand where `origin` says.
pub fn fill(value: &str, origin: &Origin, file: FileId, sources: &Sources<'_>) -> Filled {
    let mut filling = Filling {
        sources,
        origin,
        file,
        source: String::with_capacity(value.len()),
        fills: Vec::new(),
        trace: Trace::new(),
        findings: Vec::new(),
        named: Vec::new(),
    };
    filling.all(value);
    let end = origin.of(value.len());
    let Filling {
        source,
        fills,
        trace,
        findings,
        named,
        ..
    } = filling;
    let origin = trace.end(source.len(), end);
    let text = findings.is_empty().then_some(Text {
        source,
        fills,
        origin,
    });
    Filled {
        text,
        findings,
        named,
    }
}

struct Filling<'f> {
    sources: &'f Sources<'f>,
    origin: &'f Origin,
    file: FileId,
    source: String,
    fills: Vec<String>,
    trace: Trace,
    findings: Vec<Diagnostic>,
    named: Vec<PathBuf>,
}

impl Filling<'_> {
    fn all(&mut self, value: &str) {
        let mut offset = 0;
        while let Some(character) = value[offset..].chars().next() {
            let rest = &value[offset..];
            self.trace.at(self.source.len(), self.origin.of(offset));
            if rest.starts_with("$${") {
                self.source.push_str("${");
                offset += 3;
            } else if rest.starts_with("${") {
                offset += self.one(rest, offset);
            } else {
                if is_placeholder(character) {
                    self.refuse_placeholder(offset, character);
                }
                self.source.push(character);
                offset += character.len_utf8();
            }
        }
    }

    /// Fills in the `${…}` at the start of `rest`, and gives its length.
    fn one(&mut self, rest: &str, offset: usize) -> usize {
        let Some(length) = rest.find('}').map(|end| end + 1) else {
            let span = self.span(offset, rest.len());
            self.findings.push(
                Diagnostic::error("R0115", span, "`${` without its `}`")
                    .help("write `${NAME}`, or `$${` where the two characters are meant"),
            );
            return rest.len();
        };
        let span = self.span(offset, length);
        match self.value(&rest[2..length - 1], span) {
            Some(fill) if self.fills.len() < MOST_FILLS => {
                let placeholder =
                    char::from_u32(FIRST_PLACEHOLDER as u32 + self.fills.len() as u32)
                        .expect("U+FDD0 to U+FDEF are characters");
                self.source.push(placeholder);
                self.fills.push(fill);
            }
            Some(_) => self.findings.push(Diagnostic::error(
                "R0115",
                span,
                format!("more than {MOST_FILLS} `${{…}}` in one value"),
            )),
            None => {}
        }
        length
    }

    /// What stands for `${inner}`; `None` if a finding was made.
    fn value(&mut self, inner: &str, span: Span) -> Option<String> {
        if let Some(path) = inner.strip_prefix("file:") {
            return self.content(path, span);
        }
        let length = inner
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            .count();
        let (name, rest) = inner.split_at(length);
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return self.refuse(malformed(span));
        }
        let found = (self.sources.variable)(name);
        // As in a shell, the colon makes an empty variable as good as none.
        let filled = found.clone().filter(|value| !value.is_empty());
        if rest.is_empty() {
            found.or_else(|| self.refuse(missing(name, span)))
        } else if let Some(default) = rest.strip_prefix(":-") {
            if default.contains("${") {
                let finding = malformed(span).help("a default is plain text, without `${`");
                return self.refuse(finding);
            }
            Some(filled.unwrap_or_else(|| default.to_owned()))
        } else if let Some(message) = rest.strip_prefix(":?") {
            filled.or_else(|| self.refuse(missing(name, span).label(message)))
        } else {
            self.refuse(malformed(span))
        }
    }

    fn refuse(&mut self, finding: Diagnostic) -> Option<String> {
        self.findings.push(finding);
        None
    }

    fn content(&mut self, path: &str, span: Span) -> Option<String> {
        if path.is_empty() {
            return self.refuse(malformed(span));
        }
        let path = self.sources.folder.join(path);
        self.named.push(path.clone());
        let bytes = match read_small(&path, LARGEST_FILL) {
            Ok(bytes) => bytes,
            Err(reason) => {
                let help = "a relative path starts at the folder of this file";
                return self.refuse(Diagnostic::error("R0116", span, reason).help(help));
            }
        };
        let Ok(mut text) = String::from_utf8(bytes) else {
            let message = format!("the file `{}` is not UTF-8", path.display());
            let finding = Diagnostic::error("R0116", span, message);
            return self.refuse(finding.help("only text can be filled in"));
        };
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Some(text)
    }

    fn refuse_placeholder(&mut self, offset: usize, character: char) {
        let span = self.span(offset, character.len_utf8());
        let message = format!("the character U+{:04X} may not be used", character as u32);
        self.findings.push(
            Diagnostic::error("R0101", span, message)
                .help("U+FDD0 to U+FDEF are no characters of any script; leave it out"),
        );
    }

    fn span(&self, offset: usize, length: usize) -> Span {
        let start = self.origin.of(offset);
        Span {
            file: self.file,
            start,
            end: self.origin.of(offset + length).max(start),
        }
    }
}

/// The content of a file, or the reason why not, as a headline.
pub fn read_small(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let shown = path.display();
    let refuse = |error: std::io::Error| format!("cannot read the file `{shown}`: {error}");
    let file = std::fs::File::open(path).map_err(refuse)?;
    if file.metadata().map_err(refuse)?.is_dir() {
        return Err(format!("`{shown}` is a folder, not a file"));
    }
    let mut bytes = Vec::new();
    let length = file
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(refuse)?;
    if length as u64 > most {
        return Err(format!("the file `{shown}` is larger than {most} bytes"));
    }
    Ok(bytes)
}

fn malformed(span: Span) -> Diagnostic {
    Diagnostic::error("R0115", span, "`${…}` that is not understood").help(
        "write `${NAME}`, `${NAME:-default}`, `${NAME:?message}` or `${file:/path}`, \
         and `$${` where the two characters are meant",
    )
}

fn missing(name: &str, span: Span) -> Diagnostic {
    Diagnostic::error("R0116", span, format!("the variable `{name}` is not set")).help(format!(
        "set it, or write a default: `${{{name}:-default}}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "NAME" => Some("value $.x {{y}} ${NAME}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn run(value: &str) -> Filled {
        let sources = Sources {
            variable: &variable,
            folder: Path::new("/nowhere"),
        };
        fill(value, &Origin::Verbatim(10), FileId(0), &sources)
    }

    #[track_caller]
    fn check(value: &str, expected: &str) {
        let filled = run(value);
        assert_eq!(filled.findings, [], "{value}");
        assert_eq!(filled.text.unwrap().filled(), expected, "{value}");
    }

    #[track_caller]
    fn refused(value: &str, expected: &str) {
        let filled = run(value);
        assert!(filled.text.is_none());
        let found: Vec<String> = filled
            .findings
            .iter()
            .map(|f| format!("{} {}..{}", f.code, f.span.start - 10, f.span.end - 10))
            .collect();
        assert_eq!(found.join(", "), expected, "{value}");
        for finding in &filled.findings {
            assert!(!format!("{finding:?}").contains("value $.x"), "{finding:?}");
        }
    }

    #[test]
    fn each_form_gives_its_text() {
        check("${NAME}", "value $.x {{y}} ${NAME}");
        check("a ${EMPTY} b", "a  b");
        check("${EMPTY:-x}", "x");
        check("${NONE:-x y}", "x y");
        check("${NONE:-}", "");
        check("${NAME:?say why}", "value $.x {{y}} ${NAME}");
        check("$${NAME}", "${NAME}");
        check("$$${NAME}", "$${NAME}");
        check("$ {NAME} $5 $$.x", "$ {NAME} $5 $$.x");
    }

    #[test]
    fn a_fault_stands_at_its_place() {
        refused("a ${NONE} ${NONE2}", "R0116 2..9, R0116 10..18");
        refused("${NONE:?say why}", "R0116 0..16");
        refused("${EMPTY:?}", "R0116 0..10");
        refused("x ${", "R0115 2..4");
        refused("${}", "R0115 0..3");
        refused("${1A}", "R0115 0..5");
        refused("${A B}", "R0115 0..6");
        refused("${A-b}", "R0115 0..6");
        refused("${A:-${B}}", "R0115 0..9");
        refused("${file:}", "R0115 0..8");
        refused("é ${file:missing}", "R0116 3..18");
        refused("a\u{fdd0}", "R0101 1..4");
        refused(&"${NAME}".repeat(33), "R0115 224..231");
    }

    #[test]
    fn offsets_lead_back_over_a_fill() {
        let text = run("ab ${NAME} cd").text.unwrap();
        let cd = text.source.find("cd").unwrap();
        assert_eq!(text.origin.of(cd), 10 + 11);
        assert_eq!(text.origin.of(3), 10 + 3);
        assert_eq!(text.origin.of(text.source.len()), 10 + 13);
        assert!(!format!("{text:?}").contains("$.x"));
    }
}
