use super::parse;

fn decode(text: &str) -> Result<crate::model::config::Config, String> {
    parse(text, |_| Vec::new()).map_err(|errors| super::ConfigErrors::new("f".as_ref(), errors).to_string())
}

#[test]
fn complete() {
    let config = decode(include_str!("../../testdata/complete.yaml")).unwrap();
    println!("{config:#?}");
}
