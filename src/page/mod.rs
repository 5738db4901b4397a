//! What every HTML page is made of: one file, no network, no script, light and dark.

mod axis;
mod html;

pub(crate) use axis::Axis;
pub(crate) use html::{count, escape, number, percent};

const STYLE: &str = include_str!("style.css");

/// A page; `style` is what it adds to that of all pages.
pub(crate) fn document(title: &str, style: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{} · fretwork</title>\n<style>\n{STYLE}{style}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n\
         </html>\n",
        escape(title)
    )
}

/// A table of numbers, its rows made by [`row`].
pub(crate) fn table(caption: &str, columns: &[&str], rows: String) -> String {
    let columns = columns.iter().map(|column| format!("<th scope=\"col\">{column}</th>"));
    format!(
        "<div class=\"card scroll\"><table class=\"numbers\"><caption>{caption}</caption><thead><tr>{}</tr></thead>\
         <tbody>\n{rows}</tbody></table></div>\n",
        columns.collect::<String>()
    )
}

/// A row of such a table.
pub(crate) fn row(name: &str, cells: Vec<String>) -> String {
    let cells = cells.iter().map(|cell| format!("<td>{cell}</td>"));
    format!("<tr><th scope=\"row\">{name}</th>{}</tr>\n", cells.collect::<String>())
}
