//! Asks the switch; what is long, page after page.

use port_api::protocol::{ClaimRow, PortRow, Reply, Request, StackRow, Stats};
use port_api::{Client, Error};

/// Has it read its configuration again.
pub fn reload(client: &Client) -> Result<(), Error> {
    match client.call(&Request::Reload, &[])? {
        Reply::Done => Ok(()),
        other => Err(unexpected("reload", &other)),
    }
}

/// The NIC ports.
pub fn ports(client: &Client) -> Result<Vec<PortRow>, Error> {
    match client.call(&Request::Ports, &[])? {
        Reply::Ports { ports } => Ok(ports),
        other => Err(unexpected("ports", &other)),
    }
}

/// The attached stacks.
pub fn stacks(client: &Client) -> Result<Vec<StackRow>, Error> {
    let mut all = Vec::new();
    pages(0, |from| {
        match client.call(&Request::Stacks { from }, &[])? {
            Reply::Stacks { stacks, next } => {
                all.extend(stacks);
                Ok(next)
            }
            other => Err(unexpected("stacks", &other)),
        }
    })?;
    Ok(all)
}

/// The claims.
pub fn claims(client: &Client) -> Result<Vec<ClaimRow>, Error> {
    let mut all = Vec::new();
    pages(0, |from| {
        match client.call(&Request::Claims { from }, &[])? {
            Reply::Claims { claims, next } => {
                all.extend(claims);
                Ok(next)
            }
            other => Err(unexpected("claims", &other)),
        }
    })?;
    Ok(all)
}

/// All counters. Every page has those that are not of vports: the first page's are kept, since
/// sums of counters hold within one reading only.
pub fn stats(client: &Client) -> Result<Stats, Error> {
    let mut all: Option<Stats> = None;
    pages(0, |from| {
        match client.call(&Request::Stats { from }, &[])? {
            Reply::Stats(page) => {
                let next = page.next;
                match &mut all {
                    Some(stats) => stats.vports.extend(page.vports),
                    None => all = Some(*page),
                }
                Ok(next)
            }
            other => Err(unexpected("stats", &other)),
        }
    })?;
    Ok(all.unwrap_or_default())
}

/// Calls `page` with where each page starts until it returns no next one. A page that does not
/// lead on is an error, so that this ends.
fn pages<T: Copy + PartialOrd>(
    first: T,
    mut page: impl FnMut(T) -> Result<Option<T>, Error>,
) -> Result<(), Error> {
    let mut from = first;
    while let Some(next) = page(from)? {
        if next <= from {
            return Err(Error::Protocol("a list's pages go in circles".to_owned()));
        }
        from = next;
    }
    Ok(())
}

/// The error for an answer that is none.
pub fn unexpected(asked: &str, reply: &Reply) -> Error {
    Error::Protocol(format!("not an answer to {asked}: {reply:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_followed_to_the_last() {
        let mut seen = Vec::new();
        pages(0, |from: u16| {
            seen.push(from);
            Ok((from < 128).then_some(from + 64))
        })
        .unwrap();
        assert_eq!(seen, [0, 64, 128]);
    }

    #[test]
    fn pages_that_lead_nowhere_are_an_error() {
        let mut calls = 0;
        let result = pages(0, |_: u64| {
            calls += 1;
            Ok(Some(5))
        });
        assert!(matches!(result, Err(Error::Protocol(_))));
        assert_eq!(calls, 2);
    }
}
