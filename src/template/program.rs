//! A text in its compiled form: what [`super::compile`] makes and [`super::render`] runs.
//!
//! Names are bound to roots here, so that nothing is looked up by name while rendering but members of
//! bodies. What a loop reads of its elements is told with the loop's list: `x.sku` inside
//! `#each a.body.items as |x|` is one more thing that is read of `a.body.items`.

use crate::json::{Kind, Step, Value};
use crate::path::{Bind, Root, Rooted};
use crate::template::Error;

/// One piece of a text.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Literal(Box<str>),
    Hole(Operand),
    If {
        test: Operand,
        /// `#unless` turns it round.
        wanted: bool,
        then: Vec<Piece>,
        otherwise: Vec<Piece>,
    },
    Each {
        list: Operand,
        body: Vec<Piece>,
        otherwise: Vec<Piece>,
    },
}

/// What gives a value.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Name(Name),
    /// JSON bytes.
    Literal(Box<[u8]>),
    Call(Call),
    /// `@index` of the innermost loop.
    Index,
    /// `@first`.
    First,
    /// `@last`.
    Last,
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub helper: Helper,
    pub arguments: Vec<Operand>,
    /// As the operator wrote it.
    pub text: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Helper {
    Default,
    Join,
    Json,
    Lower,
    Upper,
    Trim,
    Base64,
    Len,
    Equal,
    Unequal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    And,
    Or,
    Not,
}

/// A name with dots.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// As the operator wrote it.
    pub text: Box<str>,
    pub offset: usize,
    pub from: From,
    /// The steps that are left to go from where `from` leads.
    pub keys: Vec<Key>,
    /// For the list of a loop: what the loop reads of it, beyond `keys`.
    pub reads: Vec<Vec<Step>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The context document, not bound yet.
    Context,
    /// A root; `rest` for a parameter that holds the rest of a path.
    Root { root: Root, rest: bool },
    /// The element of the loop so many loops further out.
    Loop { out: usize },
}

/// One step of a name. Digits are an index of a list and a name in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Name(Box<str>),
    Digits(usize, Box<str>),
}

impl Helper {
    /// The helper of this name, how many arguments it takes at least and at most, and whether it
    /// stands in conditions only.
    pub fn of(name: &str) -> Option<(Helper, usize, usize, bool)> {
        const MANY: usize = 16;
        Some(match name {
            "default" => (Helper::Default, 2, 2, false),
            "join" => (Helper::Join, 2, 2, false),
            "json" => (Helper::Json, 1, 1, false),
            "lower" => (Helper::Lower, 1, 1, false),
            "upper" => (Helper::Upper, 1, 1, false),
            "trim" => (Helper::Trim, 1, 1, false),
            "base64" => (Helper::Base64, 1, 1, false),
            "len" => (Helper::Len, 1, 1, false),
            "eq" => (Helper::Equal, 2, 2, true),
            "ne" => (Helper::Unequal, 2, 2, true),
            "gt" => (Helper::Greater, 2, 2, true),
            "gte" => (Helper::GreaterOrEqual, 2, 2, true),
            "lt" => (Helper::Less, 2, 2, true),
            "lte" => (Helper::LessOrEqual, 2, 2, true),
            "and" => (Helper::And, 2, MANY, true),
            "or" => (Helper::Or, 2, MANY, true),
            "not" => (Helper::Not, 1, 1, true),
            _ => return None,
        })
    }
}

impl Key {
    /// The part of a value that this key leads to.
    pub fn of<'v>(&self, value: Value<'v>) -> Option<Value<'v>> {
        match self {
            Key::Name(name) => value.get(name),
            Key::Digits(index, _) if value.kind() == Kind::Array => {
                value.index(i64::try_from(*index).ok()?)
            }
            Key::Digits(_, digits) => value.get(digits),
        }
    }
}

/// Beyond so many ways a step of digits is taken for every member or element.
const MANY_WAYS: usize = 32;

/// Every way to go along `keys` and then along one of `beyond`: digits may turn out to be an index or
/// a name.
pub(super) fn ways(keys: &[Key], beyond: &[Vec<Step>]) -> Vec<Vec<Step>> {
    let mut ways = match beyond {
        [] => vec![Vec::new()],
        some => some.to_vec(),
    };
    for key in keys.iter().rev() {
        let steps = match key {
            Key::Name(name) => vec![Step::Name(name.to_string())],
            Key::Digits(..) if ways.len() > MANY_WAYS => vec![Step::Every],
            Key::Digits(index, digits) => {
                vec![Step::Index(*index), Step::Name(digits.to_string())]
            }
        };
        ways = steps
            .iter()
            .flat_map(|step| {
                ways.iter()
                    .map(move |way| [std::slice::from_ref(step), way].concat())
            })
            .collect();
    }
    ways.retain(|way| !way.is_empty());
    ways
}

/// Calls `act` with every name of the context document.
pub(super) fn each_name(
    pieces: &mut [Piece],
    act: &mut dyn FnMut(&mut Name) -> Result<(), Error>,
) -> Result<(), Error> {
    for piece in pieces {
        match piece {
            Piece::Literal(_) => {}
            Piece::Hole(operand) => operand_names(operand, act)?,
            Piece::If {
                test: operand,
                then: body,
                otherwise,
                wanted: _,
            }
            | Piece::Each {
                list: operand,
                body,
                otherwise,
            } => {
                operand_names(operand, act)?;
                each_name(body, act)?;
                each_name(otherwise, act)?;
            }
        }
    }
    Ok(())
}

fn operand_names(
    operand: &mut Operand,
    act: &mut dyn FnMut(&mut Name) -> Result<(), Error>,
) -> Result<(), Error> {
    match operand {
        Operand::Name(name) if !matches!(name.from, From::Loop { .. }) => act(name),
        Operand::Call(call) => call
            .arguments
            .iter_mut()
            .try_for_each(|argument| operand_names(argument, act)),
        Operand::Name(_) | Operand::Literal(_) => Ok(()),
        Operand::Index | Operand::First | Operand::Last => Ok(()),
    }
}

/// Binds one name of the context document. The binder is offered the names up to the first digits,
/// since only the document can say what digits mean.
pub(super) fn bind(name: &mut Name, binder: &mut dyn Bind) -> Result<(), Error> {
    let prefix: Vec<Step> = name
        .keys
        .iter()
        .map_while(|key| match key {
            Key::Name(name) => Some(Step::Name(name.to_string())),
            Key::Digits(..) => None,
        })
        .collect();
    let beyond = ways(&name.keys[prefix.len()..], &name.reads);
    let length = prefix.len();
    let bound = binder.bind(&Rooted {
        prefix,
        beyond,
        offset: name.offset,
        length: name.text.len(),
        text: &name.text,
    })?;
    name.from = From::Root {
        root: bound.root,
        rest: false,
    };
    name.keys.drain(..bound.consumed.min(length));
    Ok(())
}

/// Calls `act` with every literal text.
pub(super) fn each_literal(pieces: &mut [Piece], act: &mut dyn FnMut(&mut Box<str>)) {
    for piece in pieces {
        match piece {
            Piece::Literal(text) => act(text),
            Piece::Hole(_) => {}
            Piece::If {
                then: body,
                otherwise,
                ..
            }
            | Piece::Each {
                body, otherwise, ..
            } => {
                each_literal(body, act);
                each_literal(otherwise, act);
            }
        }
    }
}

/// The roots of holes that are an error where they are absent, whatever else is there.
pub(super) fn required_roots(pieces: &[Piece]) -> Vec<Root> {
    let mut roots = Vec::new();
    for piece in pieces {
        if let Piece::Hole(operand) = piece {
            required_of(operand, &mut roots);
        }
    }
    roots
}

fn required_of(operand: &Operand, roots: &mut Vec<Root>) {
    match operand {
        Operand::Name(Name {
            from: From::Root { root, .. },
            ..
        }) => roots.push(*root),
        Operand::Call(call) if !matches!(call.helper, Helper::Default | Helper::Json) => {
            for argument in &call.arguments {
                required_of(argument, roots);
            }
        }
        _ => {}
    }
}
