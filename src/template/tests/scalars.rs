//! Which of the two languages a scalar is in, and what a key says.

use super::*;

#[test]
fn a_scalar_is_a_path_or_text() {
    let rows = [
        ("$.a.body.price", "12.10"),
        ("$['a'].body.price", "12.10"),
        ("$$.a.b", "\"$.a.b\""),
        ("$$['a']", "\"$['a']\""),
        ("$$.{{b.body.k}}", "\"$.2\""),
        ("$5", "\"$5\""),
        ("$$", "\"$$\""),
        ("$x {{b.body.k}}", "\"$x 2\""),
        (" $.a", "\" $.a\""),
        ("{{b.body.k}}", "\"2\""),
    ];
    for (source, expected) in rows {
        let mut found = scalar(source, &[], Place::Plain).expect(source);
        found.bind(&mut Binder::default()).expect(source);
        let tree = match found {
            Scalar::Choice(choice) => Json::Choice(choice),
            Scalar::Text(text) => Json::Text(text),
        };
        assert_eq!(trees::json(&tree).as_deref(), Ok(expected), "{source}");
    }
    for (source, offset) in [
        ("$", 0),
        ("$.a.", 0),
        ("$.a.\u{FDD0}", 4),
        ("$$.{{a b}}", 5),
    ] {
        let fault = scalar(source, &["x".to_owned()], Place::Plain).expect_err(source);
        assert!(fault.offset >= offset, "{source}: {fault:?}");
    }
    let mut moved = scalar("$$.{{nobody.x}}", &[], Place::Plain).unwrap();
    assert_eq!(moved.bind(&mut Binder::default()).unwrap_err().offset, 5);
}

#[test]
fn keys_have_marks() {
    let rows = [
        ("a", Ok(("a", Mark::Null))),
        ("", Ok(("", Mark::Null))),
        ("a?", Ok(("a", Mark::LeaveOut))),
        ("a!", Ok(("a", Mark::Require))),
        ("why??", Ok(("why?", Mark::Null))),
        ("wow!!", Ok(("wow!", Mark::Null))),
        ("a???", Ok(("a?", Mark::LeaveOut))),
        ("a!!!", Ok(("a!", Mark::Require))),
        ("a????", Ok(("a??", Mark::Null))),
        ("a??!", Ok(("a?", Mark::Require))),
        ("a!!?", Ok(("a!", Mark::LeaveOut))),
        ("a?b", Ok(("a?b", Mark::Null))),
        ("$$ref", Ok(("$ref", Mark::Null))),
        ("$$ref?", Ok(("$ref", Mark::LeaveOut))),
        ("$$", Ok(("$", Mark::Null))),
        ("??", Ok(("?", Mark::Null))),
        ("a?!", Err("two marks on the key `a?!`")),
        ("?", Err("a mark without a name")),
        ("!", Err("a mark without a name")),
        ("$for", Err("unknown key `$for`")),
        ("{{x}}", Err("`{{` in a key")),
    ];
    for (written, expected) in rows {
        let found = key(written).map_err(|fault| fault.message);
        let expected = expected
            .map(|(name, mark)| (name.to_owned(), mark))
            .map_err(str::to_owned);
        assert_eq!(found, expected, "{written}");
    }
}
