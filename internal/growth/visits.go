package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-axra/paywall/internal/bulk"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// What is measured with a Caddy: so many of each, and so many starts.
const (
	paidRequests = 5000
	webhooks     = 500
	redemptions  = 2000
	starts       = 5
	clients      = 8 // that send tokens at the same time
)

const article = "/premium/article.html"

// open is a payment of the ledger whose access has not ended and that was not refunded.
func (s *shop) open() int {
	for {
		n := rand.IntN(s.filled) //nolint:gosec // which one is no secret
		if n%1000 < 80 && n%50 != 7 && n%200 != 11 {
			return n
		}
	}
}

// bearer is a header with a token of a payment. Tokens of the same payment differ by the
// number.
func (s *shop) bearer(n, number int) (http.Header, error) {
	raw, _, err := s.keys.SignAccess(token.Access{
		Site: s.sold.Site, Pass: s.sold.Pass, Resource: s.sold.Resource, Session: bulk.SessionID(n), Payment: bulk.PaymentID(n),
		Until: s.now.Add(access + time.Duration(number)*time.Second),
	}, token.HS256)
	return http.Header{"Authorization": {"Bearer " + raw}}, err
}

// pending is a header as a browser sends it that comes back from the checkout.
func (s *shop) pending(n int) (http.Header, error) {
	entry := session.Pending{
		Session: bulk.SessionID(n), ExpiresAt: s.now.Add(time.Hour).Truncate(time.Second), State: session.Returned, ReturnedAt: s.now.Truncate(time.Millisecond),
		Scope: session.Scope(s.sold.Site, s.sold.Pass, s.sold.Resource), Price: s.sold.Price.String(),
	}
	raw, err := entry.Encode(s.keys)
	return http.Header{
		"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Cookie": {entry.CookieName("axra_p_") + "=" + raw},
	}, err
}

// event is a signed webhook about a new payment.
func (s *shop) event(n int) (body string, header http.Header, err error) {
	metadata := s.sold.Metadata()
	metadata["sessionId"] = bulk.SessionID(n)
	raw, err := json.Marshal(map[string]any{
		"event": "payment.completed", "timestamp": time.Now().UTC().Format(time.RFC3339),
		"data": map[string]any{"paymentId": bulk.PaymentID(n), "amount": 5.00, "currency": "USD", "metadata": metadata},
	})
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(raw)
	return string(raw), http.Header{"X-Axra-Signature": {hex.EncodeToString(mac.Sum(nil))}}, err
}

// visits measures what happens at visits and payments with a Caddy in front of the ledger.
func (s *shop) visits(ctx context.Context, measured figures) (err error) {
	n, err := startNode(ctx, s.sold.Site, s.folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	for _, each := range []struct {
		row   string
		times int
		visit func() error
	}{
		{rowPaid, paidRequests, s.paidRequest(ctx, n)},
		{rowWebhook, webhooks, func() error {
			body, header, err := s.event(s.next())
			if err != nil {
				return err
			}
			_, err = n.do(ctx, http.MethodPost, "/webhooks/axra", header, body, http.StatusOK)
			return err
		}},
		{rowRedemption, redemptions, func() error {
			header, err := s.pending(s.open())
			if err != nil {
				return err
			}
			answer, err := n.get(ctx, article, header, http.StatusSeeOther)
			if err == nil && answer.Get("Location") != article {
				return fmt.Errorf("a redemption leads to %s", answer.Get("Location"))
			}
			return err
		}},
	} {
		if measured[each.row], err = average(each.times, each.visit); err != nil {
			return fmt.Errorf("%s: %w", each.row, err)
		}
	}
	return nil
}

// average is how long something takes that is done so often, after a few times that do
// not count.
func average(times int, do func() error) (float64, error) {
	for range times / 20 {
		if err := do(); err != nil {
			return 0, err
		}
	}
	took, err := timed(func() error {
		for range times {
			if err := do(); err != nil {
				return err
			}
		}
		return nil
	})
	return took / float64(times), err
}

// paidRequest is one of a visitor who keeps reading.
func (s *shop) paidRequest(ctx context.Context, n *node) func() error {
	header, err := s.bearer(s.open(), 0)
	return func() error {
		if err == nil {
			_, err = n.get(ctx, article, header, http.StatusOK)
		}
		return err
	}
}

// start measures how long a Caddy takes to its first answer, in turns with the ledger and
// with an empty one beside it. The median counts.
func (s *shop) start(ctx context.Context, measured figures) error {
	empty := s.folder + ".empty"
	var full, none []float64
	for range starts {
		for _, each := range []struct {
			folder string
			took   *[]float64
		}{{s.folder, &full}, {empty, &none}} {
			n, err := startNode(ctx, s.sold.Site, each.folder)
			if err != nil {
				return err
			}
			*each.took = append(*each.took, float64(n.took))
			if err := n.stop(); err != nil {
				return err
			}
		}
	}
	slices.Sort(full)
	slices.Sort(none)
	measured[rowStart], measured[rowStartEmpty] = full[len(full)/2], none[len(none)/2]
	return nil
}

// files measures the file system by itself, with the files that a look-up and a payment
// touch: what grows here as well is not the ledger's doing. Each is done for as many random
// payments as its counterpart.
func (s *shop) files(ctx context.Context, measured figures) error {
	chosen := make([]int, grants)
	for i := range chosen {
		chosen[i] = rand.IntN(s.filled) //nolint:gosec // which one is no secret
	}
	look := func() error {
		for _, n := range chosen {
			for _, record := range []struct {
				kind ledger.Kind
				id   string
			}{{ledger.Paid, bulk.SessionID(n)}, {"adverse", bulk.SessionID(n)}, {"adverse", bulk.PaymentID(n)}} {
				if _, err := os.ReadFile(s.file(record.kind, record.id)); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
			}
		}
		return ctx.Err()
	}
	for _, row := range []string{rowFilesRead, rowFilesAgain} {
		took, err := timed(look)
		if err != nil {
			return err
		}
		measured[row] = took / grants
	}
	return s.filesStored(ctx, measured)
}

// filesStored stores records as those of a payment, in the same folders and with the same
// sync to disk, and takes them away again.
func (s *shop) filesStored(ctx context.Context, measured figures) (err error) {
	n := s.open()
	contents := make(map[ledger.Kind][]byte)
	for kind, id := range map[ledger.Kind]string{ledger.Paid: bulk.SessionID(n), "link": bulk.PaymentID(n)} {
		if contents[kind], err = os.ReadFile(s.file(kind, id)); err != nil {
			return err
		}
	}
	var names []string
	took, err := timed(func() error {
		for range records {
			id := bulk.SessionID(s.next())
			for kind, content := range contents {
				name, err := filepath.Rel(s.folder, s.file(kind, id))
				if err != nil {
					return err
				}
				names = append(names, name)
				if err := s.bare.Store(ctx, filepath.ToSlash(name), content); err != nil {
					return err
				}
			}
		}
		return nil
	})
	measured[rowFilesStored] = took / records
	for _, name := range names {
		err = errors.Join(err, os.Remove(filepath.Join(s.folder, name)))
	}
	return err
}

// file is where a record lies; see ledger.
func (s *shop) file(kind ledger.Kind, id string) string {
	sum := sha256.Sum256([]byte(id))
	name := hex.EncodeToString(sum[:])
	return s.bare.Filename("axra/ledger/" + string(kind) + "/" + name[:2] + "/" + name[2:])
}

// tokens sends so many different tokens through a Caddy and prints how much memory it has
// on the way: level, once the memory of verified tokens is full.
func (s *shop) tokens(ctx context.Context, out io.Writer, total int) (err error) {
	n, err := startNode(ctx, s.sold.Site, s.folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "different tokens\tresident memory\t\n")
	sent := 0
	for _, share := range []int{0, 10, 25, 50, 75, 100} {
		from, to := sent, total*share/100
		if sent, err = to, s.send(ctx, n, from, to); err != nil {
			return err
		}
		resident, err := residentMemory(n.cmd.Process.Pid)
		if err != nil {
			return err
		}
		after := number(float64(sent))
		if sent == 0 {
			after = "none yet"
		}
		fmt.Fprintf(w, "%s\t%s\t\n", after, size(float64(resident)))
	}
	return w.Flush()
}

// send makes a request with each of the tokens of some numbers.
func (s *shop) send(ctx context.Context, n *node, from, to int) error {
	var next atomic.Int64
	next.Store(int64(from))
	group, ctx := errgroup.WithContext(ctx)
	for range clients {
		group.Go(func() error {
			for number := int(next.Add(1)); number <= to; number = int(next.Add(1)) {
				header, err := s.bearer(s.open(), number)
				if err != nil {
					return err
				}
				if _, err := n.get(ctx, article, header, http.StatusOK); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}
