//! How a function is called that may refuse.

use fretwork::{Error, Result};

use crate::bench::Bench;

/// Calls a function in every way that makes no sense.
pub(crate) type Call = fn(&Bench);

/// An error, if it is one, says something.
pub(crate) fn said<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(error.to_string().len() > 10, "{error:?}");
            None
        }
    }
}

/// An error in any case.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it should be refused"),
        Err(error) => error,
    }
}
