package paywall_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// smuggled is a query as a checkout would bring it back, for whoever believes that.
func smuggled(query string) string {
	return "axra_query=" + base64.RawURLEncoding.EncodeToString([]byte(query))
}

// The gate and what lies behind it read one query.
func TestNobodyHidesTheQueryFromTheGate(t *testing.T) {
	app := echo(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("tier") == "gold" {
			_, _ = io.WriteString(w, marker)
			return
		}
		_, _ = io.WriteString(w, "free "+r.URL.RawQuery)
	})
	for name, matcher := range map[string]string{
		"query": "@gold {\n path /premium/*\n query tier=gold\n }", "expression": "@gold expression `{query.tier} == \"gold\"`",
		"not": "@gold {\n path /premium/*\n not query tier=free\n }",
	} {
		t.Run(name, func(t *testing.T) {
			config := strings.Replace(fiveLines, "axra_paywall /premium/* {", matcher+"\n axra_paywall @gold {", 1)
			config = strings.Replace(config, "\tfile_server", "\treverse_proxy "+app, 1)
			w := newWorld(t, worldOptions{Caddyfile: config})
			v := w.visitor()
			v.open("/premium/a?tier=gold").wantCheckout(t, w)
			for _, target := range []string{"/premium/a?tier=gold&" + smuggled("x=1"), "/premium/a?tier=gold&" + smuggled("tier=free")} {
				if answer := v.open(target); strings.Contains(answer.body, marker) {
					t.Errorf("a stranger reads the paid page: %s %d", target, answer.status)
				}
			}
		})
	}
}

const rewriteBefore = "\trewrite /dl /premium/{query.file}.html\n\troot ROOT"

func TestT4ARewriteBeforeTheGateReadsTheSameQuery(t *testing.T) {
	config := strings.Replace(keyed("{query.file}"), "\troot ROOT", rewriteBefore, 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	v.buy("/dl?file=article", cardGood).wantPaid(t)
	v.open("/dl?file=other").wantCheckout(t, w)
	if answer := v.open("/dl?file=other&" + smuggled("file=article")); strings.Contains(answer.body, marker+" other") {
		t.Error("browser navigation: the buyer of one file reads another")
	}
	if answer := v.do(http.MethodGet, "/dl?file=other&"+smuggled("file=article"), nil, nil); strings.Contains(answer.body, marker+" other") {
		t.Error("the buyer of one file reads another")
	}
}

func TestT4APrivateAddressOfARewrittenQuery(t *testing.T) {
	config := strings.Replace(member("links"), "\troot ROOT", rewriteBefore, 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	v.buy("/dl?file=article", cardGood).wantPaid(t)
	key := token(v.privateAddress("/dl?file=article"))
	friend := w.visitor()
	friend.do(http.MethodGet, "/dl?file=article&axra_link="+key, nil, nil).wantPaid(t)
	if answer := friend.do(http.MethodGet, "/dl?file=other&"+smuggled("file=article")+"&axra_link="+key, nil, nil); strings.Contains(answer.body, marker+" other") {
		t.Error("a private address opens another file")
	}
}

func TestAFreeSampleOfARewrittenQuery(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: gateWith("preview 1 per 30d", strings.TrimSuffix(rewriteBefore, "\n\troot ROOT"))})
	for i := range 5 {
		w.write(fmt.Sprintf("premium/p%d.html", i), fmt.Sprintf("%s p%d", marker, i))
	}
	v := w.visitor()
	v.open("/dl?file=p0").wantPaid(t)
	v.open("/dl?file=p1").wantCheckout(t, w)
	read := 0
	for i := range 5 {
		if answer := v.open(fmt.Sprintf("/dl?file=p%d&%s", i, smuggled("file=p0"))); strings.Contains(answer.body, fmt.Sprintf("%s p%d", marker, i)) {
			read++
		}
	}
	if read > 1 {
		t.Errorf("%d pages read of 1", read)
	}
}

// With the query and the path in one, as many applications have it rewritten.
func TestT4AFrontControllerIsToldThePathThatWasBought(t *testing.T) {
	app := echo(t, func(w http.ResponseWriter, r *http.Request) {
		all := r.URL.Query()["p"]
		p := ""
		if len(all) > 0 {
			p = all[len(all)-1]
		}
		_, _ = io.WriteString(w, marker+" "+p)
	})
	config := strings.Replace(fiveLines, "access 30d", "pass p\n\t\tper_path", 1)
	config = strings.Replace(config, "axra_paywall /premium/*", "axra_paywall /shop/*", 1)
	config = strings.Replace(config, "\tfile_server", "\t@app not path /webhooks/*\n\trewrite @app /index.php?{query}&p={path}\n\treverse_proxy "+app, 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	w.write("index.php", "x")
	v := w.visitor()
	v.buy("/shop/cheap", cardGood).wantBody(t, marker+" /shop/cheap")
	v.open("/shop/dear").wantCheckout(t, w)
	if answer := v.open("/shop/cheap?p=/shop/dear"); !strings.HasSuffix(answer.body, "/shop/cheap") {
		t.Errorf("plain: %s", answer.body)
	}
	if answer := v.do(http.MethodGet, "/shop/cheap?"+smuggled("p=/shop/dear"), v.bearer("/shop/cheap"), nil); strings.HasSuffix(answer.body, "/shop/dear") {
		t.Errorf("the buyer of one path reads another: %s", answer.body)
	}
}

func TestS4AHandlerAroundTheGateReadsTheSameQuery(t *testing.T) {
	app := echo(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, marker+" "+r.URL.Query().Get("edition"))
	})
	config := strings.Replace(fiveLines, "\tfile_server", "\t@gold query edition=gold\n\thandle @gold {\n axra_paywall {\n pass gold\n price 500 usd\n }\n reverse_proxy "+app+"\n }\n handle {\n axra_paywall {\n pass silver\n price 1 usd\n }\n reverse_proxy "+app+"\n }\n", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	v.buy("/x?edition=silver", cardGood).wantBody(t, marker+" silver")
	v.open("/x?edition=gold").wantCheckout(t, w)
	answer := v.do(http.MethodGet, "/x?edition=silver&"+smuggled("edition=gold"), v.bearer("/x"), nil)
	if strings.HasSuffix(answer.body, "gold") {
		t.Error("gold for silver")
	}
}

// wantBody expects what an application answers.
func (r reply) wantBody(t *testing.T, body string) {
	t.Helper()
	if r.status != http.StatusOK || r.body != body {
		t.Fatalf("%d %s", r.status, r.body)
	}
}

func TestS4TwoGatesReadTheSameQuery(t *testing.T) {
	app := echo(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, marker+" "+r.URL.RawQuery) })
	config := strings.Replace(fiveLines, "\tfile_server", "\t@gold query edition=gold\n\taxra_paywall @gold {\n pass gold\n price 500 usd\n }\n\treverse_proxy "+app, 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	v.buy("/premium/x", cardGood).wantBody(t, marker+" ")
	for _, query := range []string{"edition=gold", "edition=gold&" + smuggled("a=1"), smuggled("edition=gold&" + smuggled("a=1"))} {
		if answer := v.do(http.MethodGet, "/premium/x?"+query, v.bearer("/premium/x"), nil); strings.Contains(answer.body, marker+" edition=gold") {
			t.Errorf("%s: %s", query, answer.body)
		}
	}
}

func TestABuyerOfARewrittenQueryComesBack(t *testing.T) {
	config := strings.Replace(member(), "\troot ROOT", "\trewrite /dl /{query.file}.html\n\troot ROOT", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	v.open("/dl?file=premium/article").wantCheckout(t, w)
	v.buy("/dl?file=premium/article", cardGood).wantPaid(t)
}
