package sandbox

import (
	"errors"
	"net/http"
	"strconv"
)

// dashboardRows is how many of each kind the dashboard lists.
const dashboardRows = 50

func (s *Sandbox) dashboardRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.showDashboard)
	mux.HandleFunc("POST /dashboard/sessions/{id}/{action}", s.button(s.sessionActions(), "#sessions"))
	mux.HandleFunc("POST /dashboard/payments/{id}/{action}", s.button(s.paymentActions(), "#payments"))
	mux.HandleFunc("POST /dashboard/collections/{id}/{action}", s.button(s.collectionActions(), "#collections"))
	mux.HandleFunc("POST /dashboard/deliveries/{id}/{action}", s.button(s.deliveryActions(), "#deliveries"))
	mux.HandleFunc("POST /dashboard/webhooks", s.formMode)
	mux.HandleFunc("POST /dashboard/faults", s.formFault)
	mux.HandleFunc("POST /dashboard/reset", s.formReset)
}

// dashboardPage is what dashboard.html shows, the newest first.
type dashboardPage struct {
	WebhookURL  string
	Mode        Mode
	Fault       Fault
	Faults      []FaultKind
	CallTotal   int
	Sessions    []Session
	Payments    []Payment
	Collections []Collection
	Deliveries  []Delivery
}

// Title is the page's.
func (dashboardPage) Title() string { return "Dashboard" }

// Price writes an amount for people.
func (dashboardPage) Price(p interface{ price() string }) string { return p.price() }

func (sess Session) price() string { return displayAmount(sess.Amount, sess.Currency) }
func (p Payment) price() string    { return displayAmount(p.Amount, p.Currency) }
func (c Collection) price() string { return displayAmount(c.Amount, c.Currency) }

// Actions are the buttons that a payment in this status has.
func (p Payment) Actions() []string {
	var names []string
	if !p.Settled && (p.Status == StatusCompleted || p.Status == StatusDisputeWon) {
		names = append(names, "settle")
	}
	switch p.Status {
	case StatusCompleted:
		return append(names, "refund", "dispute")
	case StatusDisputeWon:
		return append(names, "refund")
	case StatusDisputed:
		return append(names, "win", "lose")
	}
	return names
}

// Actions are the buttons that a collection in this status has.
func (c Collection) Actions() []string {
	if c.Status != StatusProcessing {
		return nil
	}
	return []string{"complete", "fail", "expire"}
}

func (s *Sandbox) showDashboard(w http.ResponseWriter, _ *http.Request) {
	s.render(w, http.StatusOK, pageDashboard, s.dashboard())
}

func (s *Sandbox) dashboard() dashboardPage {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := dashboardPage{
		WebhookURL: s.webhookURL,
		Mode:       s.mode,
		Fault:      s.fault,
		Faults:     FaultKinds(),
		CallTotal:  s.served,
	}
	for _, rec := range s.sessions.newest(dashboardRows) {
		page.Sessions = append(page.Sessions, s.view(rec))
	}
	for _, p := range s.payments.newest(dashboardRows) {
		page.Payments = append(page.Payments, *p)
	}
	for _, c := range s.collections.newest(dashboardRows) {
		page.Collections = append(page.Collections, *c)
	}
	for _, d := range s.deliveries.newest(dashboardRows) {
		page.Deliveries = append(page.Deliveries, d.snapshot())
	}
	return page
}

// button does the path's action and goes back to the list it stands in.
func (s *Sandbox) button(a actions, back string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.answerForm(w, back, a.do(r))
	}
}

func (s *Sandbox) answerForm(w http.ResponseWriter, back string, err error) {
	if err == nil {
		redirect(w, "/"+back)
		return
	}
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ErrConflict):
		status = http.StatusConflict
	}
	s.render(w, status, pageNotice, notice{Title: "Not done", Text: err.Error(), Link: "/", LinkText: "Back to the dashboard"})
}

// formMode serves the webhook form: all its fields arrive together, and an
// unchecked box does not arrive at all.
func (s *Sandbox) formMode(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	hold, shuffle := r.PostFormValue("hold") == "on", r.PostFormValue("shuffle") == "on"
	copies, err := strconv.Atoi(r.PostFormValue("duplicate"))
	if err != nil {
		s.answerForm(w, "", errors.Join(ErrInvalid, err))
		return
	}
	set := webhookSettings{Hold: &hold, Shuffle: &shuffle, Copies: &copies}
	if target := r.PostFormValue("url"); target != "" {
		set.URL = &target
	}
	s.answerForm(w, "#webhooks", s.apply(set))
}

func (s *Sandbox) formFault(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	times, err := strconv.Atoi(r.PostFormValue("times"))
	if err != nil {
		s.answerForm(w, "", errors.Join(ErrInvalid, err))
		return
	}
	s.answerForm(w, "#faults", s.SetFault(Fault{Kind: FaultKind(r.PostFormValue("kind")), Times: times}))
}

func (s *Sandbox) formReset(w http.ResponseWriter, _ *http.Request) {
	s.Reset()
	s.answerForm(w, "", nil)
}
