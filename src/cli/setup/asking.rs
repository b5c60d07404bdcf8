//! Questions on a terminal, in plain lines: as usable over SSH as on a screen reader.

use std::io;

use super::{SetupError, refused, unread};

/// Whether questions are asked; else what is offered is taken.
pub(super) struct Asking {
    pub(super) asks: bool,
}

/// What is said of an answer: why it can't be taken, or what should be thought of before it is.
pub(super) type Judged = Result<Option<String>, String>;

impl Asking {
    /// The answer to a question: from the option, else typed, else what is offered.
    pub(super) fn ask(
        &self,
        question: &str,
        offered: &str,
        option: Option<String>,
        judge: &dyn Fn(&str) -> Judged,
    ) -> Result<String, SetupError> {
        let is_asked = self.asks && option.is_none();
        let mut given = Some(option.unwrap_or_else(|| offered.to_owned())).filter(|_| !is_asked);
        if is_asked {
            eprintln!("\n{question}");
        }
        loop {
            let answer = if let Some(given) = given.take() {
                given
            } else {
                eprint!("[{offered}] ");
                let typed = typed()?;
                if typed.is_empty() {
                    offered.to_owned()
                } else {
                    typed
                }
            };
            match judge(&answer) {
                Ok(None) => return Ok(answer),
                Ok(Some(doubt)) => {
                    say!("{doubt}");
                    if self.confirms("Take it?", false)? {
                        return Ok(answer);
                    }
                }
                Err(why) if !self.asks => return Err(SetupError::Refused(why)),
                Err(why) => eprintln!("{why}."),
            }
        }
    }

    /// Yes or no; yes where nothing is asked.
    pub(super) fn confirms(&self, question: &str, offered: bool) -> Result<bool, SetupError> {
        if !self.asks {
            return Ok(true);
        }
        loop {
            eprint!("{question} [{}] ", if offered { "yes" } else { "no" });
            match typed()?.as_str() {
                "" => return Ok(offered),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => eprintln!("Type yes or no."),
            }
        }
    }
}

fn typed() -> Result<String, SetupError> {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(0) => Err(refused("the answers ended early")),
        Ok(_) => Ok(line.trim().to_owned()),
        Err(error) => Err(unread(&error)),
    }
}
