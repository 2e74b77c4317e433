-- WITHOUT ROWID saves a tenth of the file in SQLite; for PostgreSQL it is left out.
-- Times are seconds since 1970 in UTC; amounts are integers of the currency's minor unit.

CREATE TABLE installation (
	id         TEXT   NOT NULL PRIMARY KEY,
	created_at BIGINT NOT NULL
);

-- The keys that sign access tokens and cookies; secret is in base64.
CREATE TABLE keys (
	kid        TEXT   NOT NULL PRIMARY KEY,
	algorithm  TEXT   NOT NULL,
	secret     TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	sign_from  BIGINT NOT NULL
);

-- What buyers own. status is active, refunded, disputed, revoked or mismatched; the view purchases_now adds expired.
CREATE TABLE purchases (
	id                      TEXT   NOT NULL PRIMARY KEY,
	site                    TEXT   NOT NULL,
	product                 TEXT   NOT NULL,
	resource                TEXT   NOT NULL,
	status                  TEXT   NOT NULL,
	starts_at               BIGINT NOT NULL,
	ends_at                 BIGINT,          -- NULL: no expiry
	device_limit            BIGINT NOT NULL,
	download_limit          BIGINT NOT NULL, -- 0: not limited
	downloads_used          BIGINT NOT NULL DEFAULT 0,
	download_window_ends_at BIGINT,
	created_at              BIGINT NOT NULL,
	updated_at              BIGINT NOT NULL
);
-- For the sweep.
CREATE INDEX purchases_by_end ON purchases (ends_at) WHERE status = 'active';
CREATE INDEX purchases_closed ON purchases (updated_at) WHERE status <> 'active';

-- What was sold; most payments share one row.
CREATE TABLE terms (
	hash TEXT NOT NULL PRIMARY KEY,
	body TEXT NOT NULL               -- JSON: the metadata of the checkout session, without price and extension
);

-- Money received, or access that an operator gave.
CREATE TABLE payments (
	session_id     TEXT   NOT NULL PRIMARY KEY,
	-- An extension names another purchase than that of its session. A purchase is computed after its first payment.
	purchase_id    TEXT   NOT NULL REFERENCES purchases (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
	source         TEXT   NOT NULL, -- axra or operator
	outcome        TEXT   NOT NULL, -- accepted or mismatch
	asked_minor    BIGINT NOT NULL,
	asked_currency TEXT   NOT NULL,
	paid_minor     BIGINT,          -- NULL: given, or no amount that could be read
	paid_currency  TEXT   NOT NULL,
	paid_raw       TEXT   NOT NULL, -- as the event says it
	paid_at        BIGINT NOT NULL,
	terms_hash     TEXT   NOT NULL REFERENCES terms (hash),
	metadata       TEXT   NOT NULL, -- JSON: the owner's own
	note           TEXT   NOT NULL  -- of what was given
);
CREATE INDEX payments_by_purchase ON payments (purchase_id, paid_at);
CREATE INDEX payments_by_time ON payments (paid_at);
-- What a report adds up.
CREATE INDEX payments_by_terms ON payments (terms_hash, source, paid_at, outcome, paid_currency, paid_minor);

-- Every payment id that an event named for a session. The ids of one charge have the smallest of them in common; a
-- session that was charged twice has two charges.
CREATE TABLE payment_ids (
	session_id  TEXT   NOT NULL REFERENCES payments (session_id) ON DELETE CASCADE,
	payment_id  TEXT   NOT NULL,
	charge      TEXT   NOT NULL,
	outcome     TEXT   NOT NULL, -- accepted or mismatch: of a completed payment; empty: only an event named it
	at          BIGINT NOT NULL, -- of the payment; 0: only an event named it
	repeated_at BIGINT,          -- of a charge beside the first one; NULL: it is not
	PRIMARY KEY (session_id, payment_id)
) WITHOUT ROWID;
CREATE INDEX payment_ids_repeated ON payment_ids (repeated_at) WHERE repeated_at IS NOT NULL;
CREATE INDEX payment_ids_by_payment ON payment_ids (payment_id);

-- Refunds, disputes and failures. A completed payment is its row in payments.
CREATE TABLE events (
	id          TEXT   NOT NULL PRIMARY KEY, -- a hash of kind, session and ids
	kind        TEXT   NOT NULL,             -- refunded, disputed, dispute_won, dispute_lost, collected
	session_id  TEXT   NOT NULL,             -- empty: the event names none
	occurred_at BIGINT NOT NULL,
	received_at BIGINT NOT NULL
);
CREATE INDEX events_by_session ON events (session_id);
CREATE INDEX events_by_time ON events (occurred_at);

CREATE TABLE event_ids (
	event_id    TEXT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
	external_id TEXT NOT NULL, -- a payment id that the event names
	PRIMARY KEY (event_id, external_id)
);
CREATE INDEX event_ids_by_external ON event_ids (external_id);

-- What the site's operator decided about a purchase; the last one counts.
CREATE TABLE decisions (
	purchase_id TEXT   NOT NULL REFERENCES purchases (id) ON DELETE CASCADE,
	n           BIGINT NOT NULL,
	kind        TEXT   NOT NULL, -- revoked or restored
	note        TEXT   NOT NULL,
	decided_at  BIGINT NOT NULL,
	PRIMARY KEY (purchase_id, n)
);

-- The browsers and programs that use a purchase.
CREATE TABLE devices (
	purchase_id TEXT   NOT NULL REFERENCES purchases (id) ON DELETE CASCADE,
	device_id   TEXT   NOT NULL,
	label       TEXT   NOT NULL,
	added_at    BIGINT NOT NULL,
	removed_at  BIGINT,
	claimed     BIGINT NOT NULL DEFAULT 0, -- 1: by the one other browser that may take the purchase over
	PRIMARY KEY (purchase_id, device_id)
) WITHOUT ROWID;

-- The change feed: feed is its counter, one row; changes is what changed, '' for the keys.
CREATE TABLE feed (
	seq    BIGINT NOT NULL,
	nonce  TEXT   NOT NULL,
	writes BIGINT NOT NULL -- transactions so far: a copy that lacks some is known by it
);
CREATE TABLE changes (
	seq         BIGINT NOT NULL PRIMARY KEY,
	nonce       TEXT   NOT NULL,
	purchase_id TEXT   NOT NULL,
	at          BIGINT NOT NULL
);

-- A position in the feed always names a row.
INSERT INTO feed (seq, nonce, writes) VALUES (1, lower(hex(randomblob(16))), 0);
INSERT INTO changes (seq, nonce, purchase_id, at) SELECT seq, nonce, '', 0 FROM feed;

-- Numbered migrations that have run; oldest is the oldest schema version a program must know to use this file.
CREATE TABLE schema_versions (
	version BIGINT NOT NULL PRIMARY KEY,
	oldest  BIGINT NOT NULL,
	at      BIGINT NOT NULL
);

-- Purchases as they are now, for people.
CREATE VIEW purchases_now AS
SELECT id, site, product, resource,
	CASE WHEN status = 'active' AND ends_at <= CAST(strftime('%s', 'now') AS BIGINT) THEN 'expired' ELSE status END AS status,
	starts_at, ends_at, device_limit, download_limit, downloads_used, download_window_ends_at, created_at, updated_at
FROM purchases;
