//! The page a browser sees: one HTML document with its style, no other file.

use serde_json::Value;

type Part = anyhow::Result<Value>;

/// The product page; a part that could not be had says why, the rest is shown.
pub(super) fn render(user: Option<&str>, details: &Part, reviews: &Part) -> String {
    let session = match user {
        Some(user) => format!("<b>{}</b> <a href=\"/logout\">Sign out</a>", escape(user)),
        None => "<a href=\"/login?user=jason\">Sign in as jason</a>".to_owned(),
    };
    let page = TEMPLATE.replace("{{session}}", &session);
    page.replace("{{details}}", &details_part(details)).replace("{{reviews}}", &reviews_part(reviews))
}

fn details_part(details: &Part) -> String {
    let details = match details {
        Ok(details) => details,
        Err(error) => return sorry("details", error),
    };
    let row = |(title, field): &(&str, &str)| format!("<dt>{title}</dt><dd>{}</dd>", escape(&text(&details[field])));
    format!("<dl>{}</dl>", FIELDS.iter().map(row).collect::<String>())
}

fn reviews_part(reviews: &Part) -> String {
    let reviews = match reviews {
        Ok(reviews) => reviews,
        Err(error) => return sorry("reviews", error),
    };
    let list = reviews["reviews"].as_array().map(Vec::as_slice).unwrap_or_default();
    let cards = list.iter().map(|review| {
        let (words, who) = (escape(&text(&review["text"])), escape(&text(&review["reviewer"])));
        format!("<figure><blockquote>{words}</blockquote><figcaption>{who} {}</figcaption></figure>", stars(review))
    });
    let version = escape(&text(&reviews["version"]));
    format!("{}<p class=\"by\">served by <code>reviews-{version}</code></p>", cards.collect::<String>())
}

fn stars(review: &Value) -> String {
    let Some(given) = review["rating"]["stars"].as_u64() else { return String::new() };
    let given = usize::try_from(given).unwrap_or(5).min(5);
    let color = escape(&text(&review["rating"]["color"]));
    format!("<span class=\"{color}\" title=\"{given} of 5\">{}{}</span>", "★".repeat(given), "☆".repeat(5 - given))
}

fn sorry(part: &str, error: &anyhow::Error) -> String {
    format!("<p class=\"sorry\">Sorry, product {part} are unavailable: {}</p>", escape(&format!("{error:#}")))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const FIELDS: [(&str, &str); 7] = [
    ("Author", "author"),
    ("Year", "year"),
    ("Type", "type"),
    ("Pages", "pages"),
    ("Publisher", "publisher"),
    ("Language", "language"),
    ("ISBN-10", "isbn"),
];

const TEMPLATE: &str = include_str!("page.html");
