//! Any text at all.

use super::*;

const TOKENS: [&str; 64] = [
    "a",
    "b: ",
    "c:",
    "- ",
    "\n",
    "\n  ",
    "\n    ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ": ",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "&x ",
    "*x",
    "!t ",
    "? ",
    "#",
    " # ",
    "#{{x}}",
    "{{",
    "}}",
    "${SECRET}",
    "${",
    "$${",
    "é",
    "😀",
    "\t",
    "\r\n",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "<<: ",
    "@",
    "`",
    "%",
    "\\",
    "\"\\u00e9\\x\"",
    "route: GET /",
    "\nresponse: {}\n",
    "calls:\n  a: ",
    "get: /x",
    "timeout: 5",
    "services:\n  s: ",
    "url: http://a",
    "true",
    "null",
    "1e400",
    "12.10",
    "x-a: ",
    "retry: ",
    "fallback: ",
    "''",
    "\"\"",
    "|2-\n",
    ">\n\n   ",
    "\u{fdd0}",
    "\u{85}",
    "\u{2028}",
    "server:\n  limits: ",
];

#[test]
fn no_text_panics_or_gives_a_place_outside_of_it() {
    let seed = 20_261_124;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..1500 {
        let length = random.usize(1..40);
        let text: String = (0..length)
            .map(|_| TOKENS[random.usize(..TOKENS.len())])
            .collect();
        sound(&text);
    }
}

/// Reads a text and looks at every place it gives.
fn sound(text: &str) {
    let mut joined = Joined::new(Vec::new());
    let found = Found {
        path: PathBuf::from("f.yaml"),
        bytes: text.as_bytes().to_vec(),
    };
    joined.read_file(found, &variable);
    let reading = joined.finish();
    for finding in &reading.findings {
        let mut spans = vec![finding.span];
        spans.extend(finding.labels.iter().map(|label| label.span));
        for span in spans {
            let (start, end) = (span.start as usize, span.end as usize);
            assert!(
                start <= end
                    && end <= text.len()
                    && text.is_char_boundary(start)
                    && text.is_char_boundary(end),
                "{text:?} {finding:?}"
            );
        }
        assert!(!finding.message.contains("hunter2"), "{text:?}");
    }
    for format in [Format::Text, Format::Sarif, Format::Github] {
        shown(&reading, format);
    }
    for range in text::documents(text) {
        let sources = Sources {
            variable: &variable,
            folder: Path::new(""),
        };
        if let Some(node) = reader::read(text, range, FileId(0), &sources).node {
            sound_node(text, &node);
        }
    }
}

fn sound_node(text: &str, node: &Node) {
    let holds = |span: Span| {
        let (start, end) = (span.start as usize, span.end as usize);
        assert!(
            start <= end
                && end <= text.len()
                && text.is_char_boundary(start)
                && text.is_char_boundary(end),
            "{text:?} {node:?}"
        );
    };
    holds(node.span);
    match &node.kind {
        Kind::Text(scalar) => {
            for (offset, character) in scalar.source.char_indices() {
                let part = node.part(offset, character.len_utf8());
                holds(part);
                assert!(
                    node.span.start <= part.start && part.end <= node.span.end.max(part.start),
                    "{text:?} {node:?} {offset}"
                );
            }
        }
        Kind::Sequence(items) => items.iter().for_each(|item| sound_node(text, item)),
        Kind::Mapping(entries) => {
            for entry in entries {
                holds(entry.key_span);
                sound_node(text, &entry.value);
            }
        }
        _ => {}
    }
}
