"""What of ours could sell at a spot venue: never more than our orders have bought, and one stop for what no exit may sell."""

from tests.venue._stage import D

LEAST = {"BTC/USDT": D("0.0002"), "ETH/USDT": D("0.003")}
"""What is surely worth a stop."""


def sales_of(world, symbol):
    """Orders of ours that are open there and sell; *symbol* as the venue names it."""
    return [
        order
        for order in world.exchange.orders.values()
        if order.is_open and order.ask.symbol == symbol and not order.ask.buys and world.of_ours(order.ask.client_id) is not None
    ]  # fmt: skip


def stops_of(world, symbol):
    return [order for order in sales_of(world, symbol) if order.ask.trigger is not None]


def left_of(orders):
    return sum((order.ask.quantity - order.filled for order in orders), D(0))


def count_sales(world):
    """Look at the venue whenever it has taken an order; the list that is returned grows when something is wrong."""
    place, wrong = world.exchange.place, []

    def counted(ask):
        order = place(ask)
        if len(stops_of(world, ask.symbol)) > 1:
            wrong.append(f"two stops of {ask.symbol}")
        selling = left_of(sales_of(world, ask.symbol))
        mine = sum((held for name, held in world.held().items() if world.name(name) == ask.symbol), D(0))
        if selling > mine:
            wrong.append(f"{selling} of {ask.symbol} could be sold, {mine} are ours")
        return order

    world.exchange.place = counted
    return wrong


def bare_positions(world):
    """Positions at rest that have not one stop for what no resting exit may sell."""
    wrong = []
    for row in world.ledger.state.positions.values():
        there = sales_of(world, world.name(row.symbol))
        stops = [order for order in there if order.ask.trigger is not None]
        exits = left_of(order for order in there if order.ask.trigger is None)
        bare, is_worth_it = row.quantity - exits - left_of(stops), row.quantity - exits >= LEAST[row.symbol]
        if len(stops) != is_worth_it or not 0 <= bare < LEAST[row.symbol]:
            wrong.append(f"{row.symbol}: {row.quantity} is held, exits sell {exits}, stops are {stops}")
    return wrong
