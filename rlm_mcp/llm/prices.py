"""What tokens cost, from the prices a user configured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Price:
    """Prices per million tokens, in whatever currency the user counts in."""

    input: float
    output: float
    cached: float | None = None

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int | None) -> float:
        """The cost of one call; tokens read from the endpoint's cache are part of the input."""
        cached = min(cached_tokens or 0, input_tokens)
        cached_price = self.input if self.cached is None else self.cached
        total = (input_tokens - cached) * self.input + cached * cached_price
        return (total + output_tokens * self.output) / 1_000_000


def price(
    input_price: float | None, output_price: float | None, cached_price: float | None
) -> Price | None:
    """The price that is fully known, else None: half a price would make half a bill."""
    if input_price is None or output_price is None:
        return None
    return Price(input_price, output_price, cached_price)
