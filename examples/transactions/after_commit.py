"""Jobs that wait for SQLAlchemy's commit: `python examples/transactions/after_commit.py`.

Redis is that of REDIS_URL. What is pushed is printed; no worker is needed.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from sidekiq_lua import Job, Stats, sidekiq
from sidekiq_lua.contrib.sqlalchemy import SessionClient

Session = scoped_session(sessionmaker(create_engine("sqlite://")))


@sidekiq.configure_client
def configure(config):
    config.client_class = partial(SessionClient, session=Session)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


class ShipJob(Job[[int]]):
    def perform(self, order_id):
        print(f"shipping order {order_id}")


def waiting() -> int:
    return Stats().enqueued


if __name__ == "__main__":
    Base.metadata.create_all(Session.get_bind())
    before = waiting()

    Session.add(Order(id=1))
    ShipJob.perform_async(1)
    print("before the commit:", waiting() - before)
    Session.commit()
    print("after the commit:", waiting() - before)

    Session.add(Order(id=2))
    ShipJob.perform_async(2)
    Session.rollback()
    print("after a rollback:", waiting() - before)
