//! Table of the kernels that the tuner chose.

use crate::report::{escape, number};
use crate::train::KernelsRecord;

/// Table of the products, with a notice where dense ones would be faster.
pub(super) fn section(record: Option<&KernelsRecord>) -> String {
    let Some(KernelsRecord { adapter, kernels, .. }) = record else { return String::new() };
    let lost = kernels.iter().filter(|kernel| kernel.dense_is_faster()).count();
    let mut body = String::new();
    if lost > 0 {
        body += &format!(
            "<p class=\"notice\">{lost} of {} products would be faster with a dense matrix, on this adapter and at these \
             densities.</p>\n",
            kernels.len()
        );
    }
    let rows = kernels.iter().map(|kernel| {
        let (share, word) = match kernel.versus_dense {
            Some(share) if kernel.dense_is_faster() => (number(share), "dense would be faster"),
            Some(share) => (number(share), ""),
            None => ("–".to_owned(), ""),
        };
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{share}</td><td>{word}</td></tr>\n",
            escape(&kernel.shape),
            escape(&kernel.choice)
        )
    });
    let columns = ["product", "variant", "time, dense = 1", ""];
    let columns = columns.map(|column| format!("<th scope=\"col\">{column}</th>")).concat();
    body += &format!(
        "<div class=\"card scroll\"><table class=\"numbers\"><thead><tr>{columns}</tr></thead><tbody>\n{}</tbody></table></div>\n",
        rows.collect::<String>()
    );
    format!("<section><h2>Kernels <small>measured on {}</small></h2>\n{body}</section>\n", escape(adapter))
}
