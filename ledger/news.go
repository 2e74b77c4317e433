package ledger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Shard is one of the parts into which ids of sessions and payments fall by their hash.
type Shard uint8

// Shards is how many there are. It is part of the storage's format: nodes with another
// number would not hear of each other's refunds.
const Shards = 64

// ShardOf is the shard of an id.
func ShardOf(id string) Shard {
	sum := sha256.Sum256([]byte(id))
	return Shard(sum[0] % Shards)
}

// notice is the record of a shard's news, in a form that people can read.
type notice struct {
	Version int       `json:"v"`
	At      time.Time `json:"at"` // by the clock of the node that wrote it
	ID      string    `json:"id"` // different each time
}

// newsKey is apart from the facts: sweeps and exports leave it alone.
func newsKey(shard Shard) string { return fmt.Sprintf("axra/news/%02x", uint8(shard)) }

// News says something that changes whenever more is known than a payment about an id of
// the shard: a refund, a dispute, an extension, a decision. One read tells about all
// purchases whose ids are in the shard, of which Untroubled ones need not be read again
// until it changes. It changes after the marker by which a reading finds more is there, and
// before what that leads to, so what is read between the two is not Untroubled.
//
// A storage that is eventually consistent may show the change before the marker, so what
// was read shortly after it has to be read once more. Nodes of versions before this one
// write no news, so what was read long ago has to be read again, too.
func (l *Ledger) News(ctx context.Context, shard Shard) (string, error) {
	raw, err := l.storage.load(ctx, newsKey(shard))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the news: %w", err)
	}
	return string(raw), nil
}

// OnNews has each change that this node has stored told to f, after an error also what may
// be stored. It is called before the ledger is used.
func (l *Ledger) OnNews(f func(...Shard)) { l.onNews = f }

func (l *Ledger) tell(shards ...Shard) {
	if l.onNews != nil {
		l.onNews(shards...)
	}
}

// announce stores that there are news.
func (l *Ledger) announce(ctx context.Context, shard Shard) error {
	before, err := l.News(ctx, shard)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(notice{Version: recordVersion, At: time.Now().UTC().Truncate(time.Second), ID: rand.Text()})
	if err != nil {
		return fmt.Errorf("encoding the news: %w", err)
	}
	if err := l.storage.store(ctx, newsKey(shard), raw); err != nil {
		return fmt.Errorf("storing the news: %w", err)
	}
	return l.readBack(ctx, shard, before)
}

// readBack makes sure that the news of a shard have changed: what a storage loses would
// never be told again. Another node may have changed them at the same time.
func (l *Ledger) readBack(ctx context.Context, shard Shard, before string) error {
	stored, err := l.News(ctx, shard)
	if err != nil {
		return err
	}
	var said notice
	if err := json.Unmarshal([]byte(stored), &said); err != nil || said.ID == "" || stored == before {
		return fmt.Errorf("%w: the news do not read back as written", ErrGarbled)
	}
	return nil
}

// announceAll is for an import, which may have changed everything. It takes no longer
// than one operation may.
func (l *Ledger) announceAll(ctx context.Context) error {
	all, each := make([]Shard, Shards), make([]func() error, Shards)
	for i := range all {
		all[i] = Shard(i)
		each[i] = func() error { return l.announce(ctx, all[i]) }
	}
	defer l.tell(all...)
	return atOnce(each...)
}

// announceKey is announce for the id of a record's key, which holds its hash alone.
func (l *Ledger) announceKey(ctx context.Context, key string) error {
	_, hash, ok := parseKey(key)
	if !ok {
		return fmt.Errorf("%w: %.80q is no record's key", ErrTransfer, key)
	}
	first, err := hex.DecodeString(hash[:2])
	if err != nil {
		return fmt.Errorf("the key of a record: %w", err)
	}
	shard := Shard(first[0] % Shards)
	defer l.tell(shard)
	return l.announce(ctx, shard)
}
