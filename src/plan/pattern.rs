//! The path of a route, `/v1/products/{id}`, as segments.

use crate::template;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Literal(String),
    /// `{name}`: one segment.
    Parameter(String),
    /// `{name...}`: the rest, one segment or more.
    Rest(String),
}

impl Pattern {
    /// Parses a path pattern; offsets of an error are within `text`.
    pub fn parse(text: &str) -> Result<Pattern, template::Error> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(error(
                0,
                text.len(),
                "a route's path begins with `/`",
                Some(format!("write `/{text}`")),
            ));
        };
        let mut segments = Vec::new();
        let mut offset = 1;
        for part in path.split('/') {
            if let Some(Segment::Rest(name)) = segments.last() {
                let help = format!("let `{{{name}...}}` be the last segment");
                return Err(error(
                    offset,
                    part.len(),
                    "nothing can stand behind a rest parameter",
                    Some(help),
                ));
            }
            segments.push(parse_segment(part, offset)?);
            offset += part.len() + 1;
        }
        let pattern = Pattern { segments };
        pattern.refuse_duplicates(text)?;
        Ok(pattern)
    }

    /// The names of the parameters, in order.
    pub fn parameters(&self) -> Vec<String> {
        let name = |segment: &Segment| match segment {
            Segment::Literal(_) => None,
            Segment::Parameter(name) | Segment::Rest(name) => Some(name.clone()),
        };
        self.segments.iter().filter_map(name).collect()
    }

    pub fn has_rest(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Rest(_)))
    }

    fn refuse_duplicates(&self, text: &str) -> Result<(), template::Error> {
        let names = self.parameters();
        for (place, name) in names.iter().enumerate() {
            if names[..place].contains(name) {
                let offset = text.rfind(&format!("{{{name}")).unwrap_or(0);
                let message = format!("the parameter `{name}` stands twice");
                let help = "give one of them another name";
                return Err(error(
                    offset,
                    name.len() + 2,
                    &message,
                    Some(help.to_owned()),
                ));
            }
        }
        Ok(())
    }
}

fn parse_segment(part: &str, offset: usize) -> Result<Segment, template::Error> {
    let Some(inner) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else {
        return parse_literal(part, offset);
    };
    let (name, is_rest) = match inner.strip_suffix("...") {
        Some(name) => (name, true),
        None => (inner, false),
    };
    if !is_name(name) {
        let message = format!("`{inner}` is not the name of a parameter");
        let help = "a name is a letter or `_`, then letters, digits and `_`: `{id}`, or `{rest...}` for the rest";
        return Err(error(offset, part.len(), &message, Some(help.to_owned())));
    }
    let name = name.to_owned();
    Ok(if is_rest {
        Segment::Rest(name)
    } else {
        Segment::Parameter(name)
    })
}

fn parse_literal(part: &str, offset: usize) -> Result<Segment, template::Error> {
    if let Some(place) = part.find(['{', '}']) {
        return Err(error(
            offset + place,
            1,
            "a parameter is a whole segment",
            Some("write `/{name}/`, with nothing beside the braces".to_owned()),
        ));
    }
    if let Some((place, character)) = part.char_indices().find(|(_, c)| !stands_in_path(*c)) {
        let message = format!("`{}` cannot stand in a path", character.escape_debug());
        let help = match character {
            '?' => "a route's path has no query: name what it takes under `input: { query: … }`",
            _ => "write it percent-encoded, as clients send it",
        };
        return Err(error(
            offset + place,
            character.len_utf8(),
            &message,
            Some(help.to_owned()),
        ));
    }
    Ok(Segment::Literal(part.to_owned()))
}

/// `pchar` of RFC 3986 §3.3, percent included.
fn stands_in_path(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%".contains(character)
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn error(offset: usize, length: usize, message: &str, help: Option<String>) -> template::Error {
    template::Error {
        offset,
        length,
        message: message.to_owned(),
        help,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_refused_where_it_is_wrong() {
        for (text, expected) in [
            ("/", None),
            ("/a/{id}/b", None),
            ("/a/{rest...}", None),
            ("a", Some((0, 1))),
            ("/a/{rest...}/b", Some((13, 1))),
            ("/a/x{id}", Some((4, 1))),
            ("/a/{1d}", Some((3, 4))),
            ("/a/{}", Some((3, 2))),
            ("/a?x=1", Some((2, 1))),
            ("/a b", Some((2, 1))),
            ("/{a}/{a}", Some((5, 3))),
        ] {
            let found = Pattern::parse(text)
                .err()
                .map(|error| (error.offset, error.length));
            assert_eq!(found, expected, "{text}");
        }
    }
}
