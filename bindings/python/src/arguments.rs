//! Arguments of the program, which are those of the package's functions and of the estimators.

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use pyo3::prelude::*;

use crate::effect::Given;
use crate::errors::exception;
use crate::options::{Command, Options, Train};

/// Options of a command, from arguments such as `--sparsity=0.9`, and those that were given.
pub(crate) fn parse(command: &str, arguments: &[String]) -> PyResult<(Command, ArgMatches)> {
    let words = ["fretwork", command].into_iter().chain(arguments.iter().map(String::as_str));
    let matches: ArgMatches =
        Options::command().try_get_matches_from(words).map_err(|error| refusal(&error))?;
    let options = Options::from_arg_matches(&matches).map_err(|error| refusal(&error))?;
    Ok((options.command, matches))
}

/// Options of a run.
pub(crate) fn parse_train(arguments: &[String]) -> PyResult<(Box<Train>, Given)> {
    match parse("train", arguments)? {
        (Command::Train(train), matches) => Ok((train, Given::of(&matches))),
        _ => Err(exception("ConfigError", "the arguments are of another command than train".to_owned())),
    }
}

/// The first paragraph of what the program would print, without its advice on `--help`.
fn refusal(error: &clap::Error) -> PyErr {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = text.find("\n\nUsage:").or_else(|| text.find("\n\nFor more information")).unwrap_or(text.len());
    exception("ConfigError", text[..end].trim().to_owned())
}

/// Options of a command: name, help, and whether the option is a switch without a value.
#[pyfunction]
pub(crate) fn options_of(command: &str) -> Vec<(String, String, bool)> {
    let program = Options::command();
    let found = program.find_subcommand(command).into_iter().flat_map(clap::Command::get_arguments);
    found
        .map(|argument| {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            (argument.get_id().to_string(), help, !argument.get_action().takes_values())
        })
        .collect()
}
