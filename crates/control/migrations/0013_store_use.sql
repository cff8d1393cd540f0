-- What the store held over time: a sample each hour and behind every sweep, all of them for a week, then one a day. The
-- parts do not overlap; together they are the bytes of all packs.
CREATE TABLE store_use (
    sampled_at BIGINT PRIMARY KEY NOT NULL,
    packs      BIGINT NOT NULL,
    live       BIGINT NOT NULL,
    dead       BIGINT NOT NULL,
    staged     BIGINT NOT NULL,
    to_free    BIGINT NOT NULL
);
