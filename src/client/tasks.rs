//! Futures put together: one that outlives its caller, the first of several, and one against another.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::host::Host;

/// A future that runs on by itself when whoever waits for it goes away.
pub struct Detached<H: Host, T: 'static> {
    host: H,
    future: Option<Pin<Box<dyn Future<Output = T>>>>,
}

impl<H: Host, T> Detached<H, T> {
    pub fn new(host: &H, future: impl Future<Output = T> + 'static) -> Self {
        Self { host: host.clone(), future: Some(Box::pin(future)) }
    }
}

impl<H: Host, T> Future for Detached<H, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let output = std::task::ready!(future.as_mut().poll(context));
        self.future = None;
        Poll::Ready(output)
    }
}

impl<H: Host, T> Drop for Detached<H, T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.host.spawn(Box::pin(async move {
                future.await;
            }));
        }
    }
}

/// The first of several futures to end; it is taken out.
pub struct Arrival<'a, T>(pub &'a mut Vec<Pin<Box<dyn Future<Output = T>>>>);

impl<T> Future for Arrival<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut arrived = None;
        self.0.retain_mut(|future| {
            if arrived.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(context)
            {
                arrived = Some(output);
                return false;
            }
            true
        });
        arrived.map_or(Poll::Pending, Poll::Ready)
    }
}

/// What the first future ends with, or `None` where the second ends earlier.
pub async fn either<A: Future + Unpin, B: Future + Unpin>(mut first: A, mut second: B) -> Option<A::Output> {
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = Pin::new(&mut first).poll(context) {
            return Poll::Ready(Some(output));
        }
        Pin::new(&mut second).poll(context).map(|_| None)
    })
    .await
}
