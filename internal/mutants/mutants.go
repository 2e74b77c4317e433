package main

// mutant is one way to break the code, and the tests that must notice.
type mutant struct {
	name     string
	file     string
	old, new string
	pkg      string
	tests    string
}

var mutants = []mutant{
	{
		"W1 the signature is not checked", "webhook.go",
		`err := h.app.verifier.Verify(r.Header, body); err != nil {`,
		`err := h.app.verifier.Verify(r.Header, body); err != nil && len(body) == 0 {`, ".", "TestW1W4",
	},
	{"W1 an empty secret signs", "webhook/verify.go", `if len(secret) == 0 {`, `if len(secret) < 0 {`, "./webhook", "."},
	{"W3 only the first secret counts", "webhook/verify.go", `range v.Secrets {`, `range v.Secrets[:1] {`, "./webhook", "."},
	{"W1 the first byte of a signature is enough", "webhook/verify.go", `match |= subtle.ConstantTimeCompare(sum, given)`, `match |= subtle.ConstantTimeCompare(sum[:1], given[:1])`, "./webhook", "."},
	{"W1 the time is not signed", "webhook/verify.go", `mac.Write([]byte(claim.prefix))`, `mac.Write([]byte(claim.prefix)[:0])`, "./webhook", "."},
	{"W1 any number of signatures is tried", "webhook/verify.go", `case len(read.macs) > maxCandidates:`, `case len(read.macs) > 1<<20:`, "./webhook", "."},
	{"W1 another version's signature counts", "webhook/verify.go", `; version == "v1" {`, `; version != "" {`, "./webhook", "."},
	{"W1 a header may be repeated", "webhook/verify.go", `case len(values) > 1:`, `case len(values) > 100:`, "./webhook", "."},
	{"W1 two times are signed", "webhook/verify.go", `if timestamps != 1 {`, `if timestamps < 1 {`, "./webhook", "."},
	{"W4 a part of the body passes for a time", "webhook/verify.go", `if value == "" || !isPlain(value) {`, `if value == "" {`, "./webhook", "."},
	{"W2 a secret decodes to nothing", "webhook/scheme.go", `return key, err == nil && strings.Trim(string(key), "\x00") != ""`, `return key, err == nil`, "./webhook", "."},
	{"a refused webhook is kept unasked", "refused.go", "\tif !h.KeepRefused {\n\t\treturn\n\t}\n\tcaptured", "\tcaptured", ".", "TestARefusedWebhook"},
	{"junk pushes out what could be signed", "refused.go", `if request.Signed {`, `if request.Signed || !request.Signed {`, ".", "TestAnOwnerFinds|TestARefusedWebhook"},
	{"what was refused is never forgotten", "module.go", `if !a.keepsRefused.Load() {`, `if a.keepsRefused.Load() && a.shared == nil {`, ".", "TestARefusedWebhook"},
	{"credentials are kept with a refused webhook", "webhook/capture.go", `|| isPrivate(name) && !v.reads(name) {`, `{`, "./webhook", "."},
	{"a secret is kept with a refused webhook", "webhook/capture.go", `if len(secret) > 0 && strings.Contains(value, string(secret)) {`, `if len(secret) == 0 {`, "./webhook", "."},
	{"an inspection finds what does not verify", "webhook/inspect.go", `if err == nil && prepared.Verify(s.header, body) == nil {`, `if err == nil && prepared.Header != "" {`, "./webhook", "."},
	{"an inspection tries all with all", "webhook/inspect.go", `return names[:min(len(names), maxTried)]`, `return names`, "./webhook", "."},
	{"what a stranger wrote steers the terminal", "command_purchases.go", `if !strconv.IsPrint(c) {`, `if !strconv.IsPrint(c) && c == 0 {`, ".", "TestInspectSays"},
	{"an inspection that finds nothing succeeds", "command_inspect.go", `if err == nil && !fits {`, `if err == nil && !fits && len(inspections) == 0 {`, ".", "TestInspectSays"},
	{"W5 a body of any size is read", "webhook.go", `http.MaxBytesReader(w, r.Body, maxBody)`, `http.MaxBytesReader(w, r.Body, 1<<30)`, ".", "TestW5"},
	{"W8 another installation's events count", "webhook.go", `return installation != a.keyring.Installation()`, `return installation == ""`, ".", "TestW8"},
	{"W9 the amount is not compared", "webhook.go", `event.AmountError != nil || !sold.Price.CoveredBy(event.Paid)`, `event.AmountError != nil`, ".", "TestW9"},
	{"W9 a missing amount passes", "webhook.go", `event.AmountError != nil || !sold.Price.CoveredBy(event.Paid)`, `event.AmountError == nil && !sold.Price.CoveredBy(event.Paid)`, ".", "TestW9"},
	{"W9 the currency is not compared", "money/money.go", `return strings.EqualFold(p.Currency, paid.Currency) && paid.Amount`, `return paid.Amount`, ".", "TestW9"},
	{
		"W11 a repeated key passes", "webhook/strictjson.go",
		"\t\tdefault:\n\t\t\tif _, repeated := object[name]; repeated {", "\t\tdefault:\n\t\t\tif _, repeated := object[name]; repeated && name == \"\" {", "./webhook", ".",
	},
	{"W11 trailing data passes", "webhook/strictjson.go", `if !json.Valid(raw) {`, `if !json.Valid(raw) && !json.Valid(raw[:len(raw)-1]) {`, "./webhook", "."},
	{"W12 the webhook answers GET", "webhook.go", `if r.Method != http.MethodPost {`, `if r.Method == "" {`, ".", "TestW12"},

	{"D1 acknowledged though not stored", "webhook.go", `return http.StatusServiceUnavailable, "not_stored", event.Type`, `return http.StatusOK, "not_stored", event.Type`, ".", "TestD1"},
	{"D1 not read back", "ledger/ledger.go", `if bytes.Equal(stored, raw) {`, `if bytes.Equal(raw, raw) {`, ".", "TestD1"},
	{"D1 an error of storage counts as absence", "ledger/ledger.go", `return Fact{}, fmt.Errorf("reading the %s record: %w", kind, err)`, `return Fact{}, fmt.Errorf("reading the %s record: %w", kind, fs.ErrNotExist)`, ".", "TestD2"},
	{"D2 asked to pay while the ledger cannot be read", "visit.go", "case v.found.err != nil:\n", "case v.found.err != nil && restart:\n", ".", "TestD2"},
	{"D3 served for ever while the ledger cannot be read", "verified.go", `at.UnixNano()-since > int64(grace)`, `at.UnixNano()-since < 0`, ".", "TestD3"},
	{"D3 a forgotten token has grace anew", "verified.go", `began := a.shared.failing.begin(at)`, `began := new(trouble).begin(at)`, ".", "TestD3AForgotten"},
	{"D3 the end of trouble is not noticed", "flights.go", `if err == nil || errors.Is(err, ledger.ErrNotPaid) {`, `if err == nil && errors.Is(err, ledger.ErrNotPaid) {`, ".", "TestD3AnAnswer"},
	{"a garbled record ends the trouble", "flights.go", `if err == nil || errors.Is(err, ledger.ErrNotPaid) {`, `if err == nil || !errors.Is(err, context.Canceled) {`, ".", "TestD3AnAnswer"},
	{"who was never answered about waits for what concerns others", "flights.go", `known := int64(0) // where`, `known := int64(-1) // where`, ".", "TestWhatIsHeard"},
	{"the age of news is counted that nobody has asked", "verified.go", `if !vouched || failed || confirmed`, `if failed = false; !vouched || failed || confirmed`, ".", "TestTheAge"},
	{"changed news are counted as unchanged", "news.go", `case known.text != text:`, `case known.text != text && text == "":`, ".", "TestReadingsOfNews"},
	{"D3 who is not paid has grace after a while", "verified.go", `v.failing.since.Store(now().Add(-time.Duration(a.Grace) - time.Second).UnixNano())`, `v.failing.begin(now().Add(-time.Duration(a.Grace) - time.Second))`, ".", "TestD3WhoIsNotPaid"},
	{"D3 turned away at once while the ledger cannot be read", "verified.go", `at.UnixNano()-since > int64(grace)`, `at.UnixNano()-since >= 0`, ".", "TestD3"},
	{"W6 a payment that came half way is not told of", "ledger/ledger.go", `return err == nil && stands.Payment == f.Payment, err`, `return err == nil && stands.Payment == "", err`, "./ledger", "TestW6APaymentThatCame"},
	{"the records of a payment wait for each other", "ledger/ledger.go", `		group.Go(each)`, `		defer each()`, "./ledger", "TestRecordsAreStored|TestMarkersAre"},
	{"W7 a link is stored after the look at outcomes", "ledger/ledger.go", `if fresh, err = l.put(ctx, f, f.Payment); err != nil {`, `defer func() { fresh, err = l.put(ctx, f, f.Payment) }(); if err != nil {`, "./ledger", "TestW7ARefundWhile"},
	{"everybody who waits reads for themselves", "flights.go", `g.flights.DoChan(session+g.heard.edition(session), func`, `g.flights.DoChan(strconv.FormatInt(g.heard.readings.Add(1), 10), func`, ".", "TestOneReading|OfASession"},
	{"each token reads for itself", "verified.go", `landed := <-a.grants.ask(v.Session)`, `landed := <-(&grants{ledger: a.ledger, heard: &a.shared.heard, failing: &a.shared.failing}).ask(v.Session)`, ".", "TestRechecksOf"},
	{"W6 a reading from before hides a payment", "flights.go", `h.paymentsOf(session).Add(1)`, `h.paymentsOf(session).Add(0)`, ".", "TestAReadingHides"},
	{"T7 a reading from before hides a refund", "flights.go", `append(edition, '.'), h.outcomes.Load()`, `append(edition, '.'), 0*h.outcomes.Load()`, ".", "TestAReadingHides"},
	{"W6 the webhook does not end readings", "webhook.go", `a.shared.heard.payment(fact.Session)`, `_ = fact.Session`, ".", "TestAWebhookEnds"},
	{"each request reads the token anew", "verified.go", `if known := a.remembered(raw, at); known != nil {`, `if known := a.remembered(raw, at); known != nil && raw == "" {`, ".", "TestADecision"},
	{"each request asks the ledger", "verified.go", `fresh := age >= -recheck`, `fresh := at.IsZero() && age >= -recheck`, ".", "TestAPaidRequestTouches"},
	{"T7 the older of two readings counts", "verified.go", `if said.number < v.learnt {`, `if said.number < 0 {`, ".", "TestTheLaterReading"},
	{"who waits for the ledger cannot leave", "flights.go", `	case <-ctx.Done():
		return ledger.Grant{}, fmt`, `	case <-context.WithoutCancel(ctx).Done():
		return ledger.Grant{}, fmt`, ".", "TestWhoBegan"},
	{"W11 a brace in a string ends a value", "webhook/strictjson.go", `at = endOfString(raw, at) - 1`, `at++`, "./webhook", "FuzzReadObject"},
	{"D4 a garbled record counts", "ledger/fact.go", `err != nil || sum != r.Sum {`, `err != nil || sum == "" {`, "./ledger", "."},
	{
		"D4 a garbled record is kept", "ledger/ledger.go", "if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrGarbled) {\n\t\treturn false, nil\n\t}\n\treturn err == nil, err\n}\n\n// Grant",
		"if errors.Is(err, fs.ErrNotExist) {\n\t\treturn false, nil\n\t}\n\treturn err == nil || errors.Is(err, ErrGarbled), nil\n}\n\n// Grant", ".", "TestD4",
	},

	{"T1 any header leads to a key", "token/head.go", "\treturn found, ok\n", "\tfor _, any := range snap.heads {\n\t\tif any.typ == typeAccess && !ok {\n\t\t\treturn any, true\n\t\t}\n\t}\n\treturn found, ok\n", "./token", "."},
	{"a bad signature is checked again and again", "token/token.go", "\t\tr.forged.add(raw)\n", "", "./token", "TestEachBadToken"},
	{"T3 a number in quotes is an end", "token/token.go", `if len(raw) > 0 && raw[0] == '"' {`, `if len(raw) == 0 {`, "./token", "TestDenied"},
	{"T3 a token outlives its access", "verified.go", `if !at.Before(v.Expires) {`, `if at.IsZero() {`, ".", "TestT3AToken"},
	{"T4 a token opens other passes", "handler.go", `sale == nil || !sale.opens(entry.Resource, r)`, `sale != nil && !sale.opens(entry.Resource, r)`, ".", "TestS4|TestT4"},
	{"T4 a token of one path opens others", "offer.go", `if resource == pathResource(r) {`, `if resource != "" {`, ".", "TestT4APath"},
	{"T4 a path that is sold may be disguised", "handler.go", `case !isPlain(r), byQuery,`, `case byQuery,`, ".", "TestT4APath"},
	{"G9 a header leads a teaser elsewhere", "teaser.go", `v.r.Header.Del(name) // also`, `_ = name // also`, ".", "TestG2NoTeaser"},
	{"free samples do not end", "preview.go", `len(read.Pages) >= v.Preview.Pages`, `len(read.Pages) > 1000`, ".", "TestFreeSamplesEnd"},
	{"T6 a sample counts for another gate", "preview.go", `read.Scope == v.previewScope()`, `read.Scope != ""`, ".", "TestT6APreview"},
	{"downloads do not end", "handler.go", `limit := v.downloads(); limit > 0 {`, `limit := v.downloads(); limit > 5000 {`, ".", "TestAPurchase"},
	{"the session's id is logged", "handler.go", `if !own || !h.carriesSecrets(r) {`, `if r != nil {`, ".", "TestNoSession"},
	{"axra_paid matches who has not paid", "matcher.go", `verdict == open {`, `verdict >= none {`, ".", "TestOneOf"},
	{"a pass that is off sale is sold", "checkout.go", `if sale.Retired {`, `if sale.pass == "" {`, ".", "TestOneOf|TestAnOffer"},
	{"G12 a client's headers stand", "identity.go", `if strings.HasPrefix(plainName(name), prefix) {`, `if strings.HasPrefix(name, prefix+"-") {`, ".", "TestG12Request"},
	{"T4 a token opens other sites", "token/token.go", `&claims, jwt.WithAudience(site), `, `&claims, `, "./token", "."},
	{"T4 a remembered token opens other sites", "verified.go", `case known.Site != site.origin || known.link != "":`, `case known.link != "":`, ".", "TestT4"},
	{"T6 one kind of token passes for the other", "token/token.go", `|| !known || signed.typ != typ {`, `|| !known {`, "./token", "."},
	{"T7 a refund closes nothing", "verified.go", `if said != nil && said.closedFor != "" {`, `if said != nil && said.closedFor == "x" {`, ".", "TestT7Refund"},
	{"T7 a refund is not noticed at once", "flights.go", `count := h.outcomes.Add(1)`, `count := h.outcomes.Add(0)`, ".", "TestT7Refund|TestT7What"},
	{"T7 who hangs up is let in", "verified.go", `if a.await(ctx, v, vouched); ctx.Err() != nil {`, `if a.await(ctx, v, vouched); ctx == nil {`, ".", "TestT7WhoHangsUp"},
	{"T7 a refund concerns everybody", "flights.go", `known = said.outcomes; !said.untroubled {`, `known = said.outcomes; !said.untroubled || known < h.outcomes.Load() {`, ".", "TestT7What"},
	{"T7 news of the payment do not count", "flights.go", ` || known < h.news[v.shards[1]].Load()`, ``, ".", "TestT7What"},
	{"T7 news of the payment are not read", "news.go", `for _, shard := range v.shards {
		said`, `for _, shard := range v.shards[:1] {
		said`, ".", "TestT7News|TestNewsSpare"},
	{"T7 news vouch for what they cannot tell", "verified.go", `untroubled: grant.Untroubled && grant.Session`, `untroubled: grant.Session`, ".", "TestNewsDoNotVouch"},
	{"T7 news vouch for a place", "verified.go", `v.place.kind == "" && (!grant`, `(!grant`, ".", "TestNewsDoNotVouch"},
	{"T7 news vouch for another payment", "verified.go", ` && grant.Payment == v.Payment`, ``, ".", "TestNewsDoNotVouch"},
	{"a clock that was set back ends all attempts", "verified.go", `since >= int64(retryCheck) || since < 0`, `since >= int64(retryCheck)`, ".", "TestAttempts"},
	{"T7 news that come before the facts hide them", "news.go", `last.asked < said.since+int64(n.recheck)`, `last.asked < said.since`, ".", "TestT7NewsThatCome"},
	{"T7 news vouch for ever", "news.go", `age > vouchAtMost*n.recheck {`, `age < 0 {`, ".", "TestNewsDoNotVouchForLong"},
	{"T7 the ledger is not asked as long as news vouch", "news.go", `at.UnixNano()-said.asked > int64(vouchAtLeast+v.digest[0]%vouchSpread)*int64(n.recheck)`, `said.asked < 0`, ".", "TestWithoutNews"},
	{"news vouch for answers from before them", "news.go", `last.number <= said.after`, `last.number < 0`, ".", "TestNewsDoNotVouchAfter"},
	{"news spare nothing", "news.go", `if last == nil || !last.untroubled {`, `if last == nil || last.untroubled {`, ".", "TestNewsSpare"},
	{"D3 news that hang are waited for", "verified.go", `	case <-timer.C:
			a.fail(v, now())
			return`, `	case <-time.After(time.Hour):
			a.fail(v, now())
			return`, ".", "TestD3NewsThatHang"},
	{"an outcome stands before its news", "ledger/ledger.go", `	if err := l.foretell(ctx, id, !known); err != nil || known {
		return false, err
	}
	return true, l.store(ctx, f, id)`, `	if known {
		return false, l.foretell(ctx, id, false)
	}
	return true, errors.Join(l.store(ctx, f, id), l.foretell(ctx, id, true))`, "./ledger", "TestAChangeThatBreaksOff"},
	{"an extension is no news", "ledger/extension.go", `l.foretell(ctx, purchase, !known)`, `l.foretell(ctx, purchase, false)`, "./ledger", "TestEveryChange|TestAChangeThat"},
	{"a decision is no news", "ledger/decision.go", `l.foretell(ctx, session, true)`, `l.foretell(ctx, session, false)`, "./ledger", "TestAChangeThat|TestEveryChange"},
	{"what is known is news again", "ledger/ledger.go", `if err != nil || !fresh && !more {`, `if err != nil || fresh && !fresh {`, "./ledger", "TestWhatIsKnown"},
	{"what an earlier version left out stays so", "ledger/ledger.go", `if err != nil || !fresh && !more {`, `if err != nil || !more || fresh && !more {`, "./ledger", "TestWhatAnEarlier|TestEveryChange"},
	{"D1 news are not read back", "ledger/news.go", `said.ID == "" || stored == before {`, `stored == "" && before != "" {`, "./ledger", "TestD1News"},
	{"T7 an import tells at its end only", "ledger/merge.go", `if fresh && fact.Kind == eventful {`, `if fresh && fact.Kind == "" {`, "./ledger", "TestT7AnImport"},
	{"who has not paid has a name", "identity.go", `if v.Session == "" {`, `if v.Session == "x" {`, ".", "TestNobodyHasAName"},
	{"an import is no news", "ledger/news.go", `l.tell(all...)`, `l.tell()`, "./ledger", "TestAnImportIsNews"},
	{"T7 a won dispute stays closed", "ledger/ledger.go", `case has(Disputed) && !has(DisputeWon):`, `case has(Disputed):`, ".", "TestT7Refund"},

	{"a rotated key signs before others know it", "token/keyring.go", `added.SignFrom = now.Add(activation)`, `added.SignFrom = now`, "./token", "TestARotation|TestRotation|TestAChange"},
	{"a rotation leaves keys of other uses", "token/token.go", `signer := snap.newest(k.now())`, `signer := snap.signer(HS256, k.now())`, "./token", "TestARotationChanges"},
	{"keys are dropped too early", "token/rotation.go", `const keepFor = LongestLife + Lapse`, `const keepFor = longest`, "./token", "TestNothingOutlives"},
	{"a key of another algorithm takes one's place", "token/rotation.go", `later.Algorithm == r.Keys[at].Algorithm && (`, `(`, "./token", "TestAKeyIsDropped"},
	{"a removed key stays in memory", "token/keyring.go", `return k.ring.use(record, k.ring.change())`, `return nil`, "./token", "TestARemovedKey|TestANodeForgets"},
	{"a removed key comes back", "token/keyring.go", `if read == r.changes {`, `if read <= r.changes {`, "./token", "TestARemovedKeyDoes"},
	{"nothing signs in place of a removed key", "token/rotation.go", `r.Keys[at].SignFrom = now.UTC().Truncate(time.Second)`, ``, "./token", "TestWhatSigns"},
	{"T1 the end of a signature is enough", "verified.go", `if !ok || found.digest != digestOf(raw) {`, `if !ok {`, ".", "TestT1|TestT5|TestS4"},
	{"T1 the end of a kept token is enough", "verified.go", `found.raw == raw {`, `strings.HasSuffix(found.raw, raw[max(0, len(raw)-43):]) {`, ".", "TestT1|TestTokensAreKept"},
	{"long tokens are kept", "verified.go", `len(raw) > maxRecentSize`, `len(raw) < 0`, ".", "TestTokensAreKept"},
	{"a removed key's tokens are remembered", "verified.go", `if !a.keyring.Knows(entry.Key) {`, `if entry.Key == "" {`, ".", "TestWhatARemoved|TestOwnKeysCome"},
	{"T6 own keys verify other uses with the empty key", "token/head.go", `	for use, derived := range k.derived {
		if`, `	for _, use := range uses {
		derived := append([]byte{}, k.derived[use]...)
		if`, "./token", "TestT6OwnKeys"},
	{"a removed key's private address is remembered", "link.go", `Expires: claims.ExpiresAt.Time, Key: kid,`, `Expires: claims.ExpiresAt.Time, Key: kid[:0] + a.listKeys()[len(a.listKeys())-1].ID,`, ".", "TestWhatARemoved|TestAPrivateAddressWorks"},
	{"own keys change what others sign", "token/own.go", `with := &Keyring{now: k.now, ring: k.ring, own: ownKeys{byID: make(map[string]*key, len(own)), heads: make(map[string]head)}}`, `with := k
	with.own = ownKeys{byID: make(map[string]*key, len(own)), heads: make(map[string]head)}`, ".", "TestK2AConfiguration"},
	{"half a key in hex passes for base64", "token/own.go", `if strings.Trim(text, "0123456789abcdefABCDEF") == "" {`, `if text == "" {`, "./token", "TestOwnKeys"},
	{"a short own key signs", "token/own.go", `if len(secret) < minSecret {`, `if len(secret) < 1 {`, "./token", "TestOwnKeysThat"},
	{"a placeholder's secret is repeated", "signingkeys.go", `return fmt.Errorf("cannot be read: %w", at.Err)`, `return err`, ".", "TestSigningKeysThat"},
	{"HMAC keys are published", "token/jwk.go", `if key, ok := each.verifying.(ed25519.PublicKey); ok {`, `key, ok := each.verifying.(ed25519.PublicKey)
			if !ok {
				key, ok = each.verifying.([]byte)
			}
			if ok {`, ".", "TestHMACKeys"},
	{"a waiting key is not published", "token/jwk.go", `ed25519.PublicKey); ok {`, `ed25519.PublicKey); ok && !each.signFrom.After(k.now()) {`, ".", "TestPublishedKeys"},
	{"W12 the key set takes a POST", "jwks.go", `r.Method != http.MethodGet && r.Method != http.MethodHead`, `r.Method == ""`, ".", "TestTheKeySet"},

	{
		"S1 anybody's paid session opens", "visit.go", "\tv.pending = v.readPending(v.r, v.site)\n\tif paid",
		"\tv.pending = v.readPending(v.r, v.site)\n\tv.pending.here = append(v.pending.here, session.Pending{Session: v.params.Get(paramSession)})\n\tif paid", ".", "TestC3S1",
	},
	{"S7 tabs overwrite each other's checkouts", "session/pending.go", `sum := sha256.Sum256([]byte(p.Session))`, `sum := sha256.Sum256([]byte(p.Scope))`, ".", "TestS7|TestC3|TestLate"},
	{"S6 a return is forgotten", "visit.go", `if entry.State == session.Returned || v.app.stageOf(entry) == processing {`, `if entry.State == "" && v.app.stageOf(entry) == processing {`, ".", "TestS6Return"},
	{"S6 an earlier decline hides a payment on its way", "webhook.go", `entry.State == session.Returned && !said.at.After(entry.ReturnedAt)`, `entry.State == "x"`, ".", "TestReturnAfter"},
	{"C2 any request starts a checkout", "navigation.go", `|| !isFetchedAsPage(r) {`, `{`, ".", "TestC2"},
	{"FA1 an app's browser is taken for a script", "navigation.go", `case strings.EqualFold(r.Header.Get("X-Requested-With"), "XMLHttpRequest"):`, `case r.Header.Get("X-Requested-With") != "":`, ".", "TestFA1FA2"},
	{"FA2 a service worker's navigation is taken for a script", "navigation.go", `	case "empty":`, `	case "nothing":`, ".", "TestFA1FA2"},
	{"FA3 a form is no way to pay", "navigation.go", `isNavigation(v.r) || isPurchaseForm(v.r) && !v.isFromAnotherSite()`, `isNavigation(v.r)`, ".", "TestFA3Who"},
	{"FA3 a page's policy keeps its form from the checkout", "page/page.go", `append([]string{"'self'"}, v.FormTargets...)`, `append([]string{"'self'"}, v.FormTargets[:0]...)`, "./page", "TestEveryKind"},
	{"FA3 a return is refused for its headers", "visit.go", `!isPageRequest(v.r) && !v.isOwnReturn()`, `!isNavigation(v.r)`, ".", "TestFA3AReturn"},
	{"C2 a form of another site starts a checkout", "navigation.go", `isPurchaseForm(v.r) && !v.isFromAnotherSite()`, `isPurchaseForm(v.r)`, ".", "TestC2AForm"},
	{"FB1 what follows a script is free", "path.go", "\t\tinfos = append(infos, info)\n", "", ".", "TestFB1What"},
	{"FB1 what follows a script is free below its folder", "path.go", `infos = append(infos, folder+info)`, `_ = info`, ".", "TestFB1What"},
	{"FB1 a path amid many scripts is free", "path.go", `if len(found) > maxScripts || strings`, `if strings`, ".", "TestFB1What"},
	{"FB1 a query that is a path is free", "path.go", `if !strings.HasPrefix(query, "/") {`, `if !strings.HasPrefix(query, "//") {`, ".", "TestFB1What"},
	{"FB1 our parameters hide a query that is a path", "path.go", `query, _ := cleanQuery(address.RawQuery)`, `query := address.RawQuery`, ".", "TestFB1What|TestFB2Paths"},
	{"FB2 another spelling is sold", "checkout.go", `	if path == v.address.Path {
		return nil
	}`, `	if path != "" {
		return nil
	}`, ".", "TestFB2Other"},
	{"FB2 index files hide one another", "resource.go", "\t\tp = bare\n", "\t\treturn bare\n", ".", "TestFB2AKey"},
	{"FB2 a folder is sold at the lower of two prices", "offer.go", `price, err, pricier = other, nil, path`, `pricier = ""`, ".", "TestFB2Other"},
	{"FB2 a folder is not the key of its index page", "offer.go", `!isRewritten(r) && !strings.Contains(s.Key, "{http.request.uri.path")`, `!isRewritten(r)`, ".", "TestFB2AFolderIsAKey"},
	{"FB2 a rewritten path loses its key", "resource.go", `return !strings.HasSuffix(originalURL(r).Path, r.URL.Path)`, `return false`, ".", "TestFB2ARewritten"},
	{"FA3 an extension by a button is a second purchase", "offerpage.go", `params = append(params, paramExtend, "1")`, `_ = paramExtend`, ".", "TestFA3WhoIsTakenForAProgramExtends"},
	{"FA3 a policy lets a form lead by http alone", "session/hosts.go", `scheme := "https:"`, `scheme := "http:"`, "./session", "."},
	{"FB2 a key is looked up by the spelling", "offer.go", `path = canonicalPath(path)`, `path = path + ""`, ".", "TestFB2AKey"},
	{"FB2 a path behind a script is sold", "handler.go", `return h.looksUpPaths || err != nil || !direct`, `return err != nil || !direct`, ".", "TestFB2Other"},
	{"C2 crawlers start checkouts", "navigation.go", `return !isCrawler(r.UserAgent())`, `return true`, ".", "TestC2"},
	{"C3 an open checkout is not reused", "checkout.go", `&& entry.Reusable(now()) {`, `&& entry.Reusable(now().Add(time.Hour)) {`, ".", "TestC3S1"},
	{"C1 the limits are not applied", "checkout.go", `if wait, ok := v.app.limiter.Allow(v.clientIP()); !ok {`, `if wait, ok := v.app.limiter.Allow(v.clientIP()); !ok && wait < 0 {`, ".", "TestC1"},

	{"G2 a path is taken for plain", "quickpath.go", `case c == '/' && (i == 0 || !separated), c == '.' && !separated:`, `case c == '/', c == '.' && i >= 0:
			_ = separated`, ".", "FuzzQuick"},
	{"G2 what differs in case is taken for plain", "quickpath.go", `case 'a' <= c && c <= 'z',`, `case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z',`, ".", "FuzzQuick"},
	{"an outer gate's visitor is forgotten at an inner gate's free page", "admission.go", `if isSet && by == nil {`, `if isSet && by != nil {`, ".", "TestNested"},
	{"G1 what lies below a page is far from it", "quickpath.go", `strings.HasPrefix(pattern, path) || strings.HasPrefix(path, pattern)`, `strings.HasPrefix(pattern, path)`, ".", "FuzzFar|TestGPath"},
	{"a header's map grows", "response.go", `	switch vary := header["Vary"]; {`, `	header["Cache-Control"] = lines[:1:1]
	switch vary := header["Vary"]; {`, ".", "TestAPrivateAnswer"},
	{"G2 disguises are not looked through", "path.go", "\treturn h.disguised(r, original)\n", "\treturn outside, nil\n", ".", "TestGPath"},
	{"G1 only the path itself is matched", "path.go", "h.matchesAny(r, everyday(r.URL.Path), r)", "h.matchesAny(r, nil, r)", ".", "TestGPath"},
	{"G9 headers that name another path are believed", "path.go", `for _, name := range overrides {`, `for _, name := range overrides[:0] {`, ".", "TestGHeaders"},
	{"G6 other methods pass", "handler.go", "\tverdict, known := h.decide(r, site, nil)\n\tif h.isBehindScript", "\tif r.Method != http.MethodGet {\n\t\treturn next.ServeHTTP(w, r)\n\t}\n\tverdict, known := h.decide(r, site, nil)\n\tif h.isBehindScript", ".", "TestGHeaders|TestC2"},
	{"G8 an upgrade passes", "handler.go", "\tverdict, known := h.decide(r, site, nil)\n\tif h.isBehindScript", "\tif r.Header.Get(\"Upgrade\") != \"\" {\n\t\treturn next.ServeHTTP(w, r)\n\t}\n\tverdict, known := h.decide(r, site, nil)\n\tif h.isBehindScript", ".", "TestGHeaders|TestC2"},
	{"G12 a client's claim stands on free pages", "identity.go", `return v != nil, true`, `return v != nil || key != "", true`, ".", "TestG12"},
	{"G13 headers of any size are read", "handler.go", `return total > maxHeaderBytes`, `return total < 0`, ".", "TestG13"},
	{"R1 a path may name another host", "response.go", "return \"/\" + strings.TrimLeft(target, `/\\`)", "return target", ".", "TestRRedirects"},
	{"R2 the Host header's port is believed", "site.go", `if claimed == "" || slices.Contains(a.ports, claimed) || len(a.ports) == 0 {`, `if claimed != "0" {`, ".", "TestRRedirects"},

	{"P4 tried again and again", "session/client.go", `maxTries = 3`, `maxTries = 30`, "./session", "."},
	{"P5 an answer of any size is read", "session/client.go", `if len(raw) > maxAnswer {`, `if len(raw) < 0 {`, "./session", "."},
	{"P6 redirects are followed", "module.go", `return http.ErrUseLastResponse // a redirect would carry our credentials along`, `return nil`, ".", "TestP1P10/redirect"},
	{"P7 visitors are sent anywhere", "session/client.go", `if err != nil || !c.hosts.Allow(target) {`, `if err != nil {`, ".", "TestP1P10/wrong"},
	{"P9 an expired session is used", "session/client.go", `case !expires.After(now):`, `case expires.IsZero():`, ".", "TestP1P10/expired"},

	{"H1 paid answers stay public", "response.go", "\t\tw.lines.makePrivate(w.Header())\n\t\tif w.before", "\t\tif w.before", ".", "TestH1"},
	{"H2 a redirect may be stored", "response.go", `header.Set("Cache-Control", "no-store")`, `header.Set("Cache-Control", "private")`, ".", "TestVisitorPays"},
	{"the checkout URL is logged", "response.go", `scheme+"://"+host+"/")`, `scheme+"://"+host+"/"+rest)`, ".", "TestSecretsStay"},
	{"a literal secret is accepted", "credentials.go", `if isOne && closed && !`, `if isOne || !closed || !`, ".", "TestAdapt"},
	{"the session is created before the target is known to fit", "checkout.go", `if len(v.target) > maxTarget {`, `if len(v.target) < 0 {`, ".", "TestTooLong"},

	{"S3 a payment is claimed twice", "claim.go", `ledger.Claimed, grant.Session, 1, holder`, `ledger.Claimed, grant.Session, 100, holder`, ".", "TestAnotherBrowserClaims|TestS3Many"},
	{"S3 what was not sold so is claimed", "claim.go", `case !grant.Terms.Claim, !grant.Open(now()),`, `case !grant.Open(now()),`, ".", "TestS3NobodyClaims"},
	{"S4 a claim opens other gates", "claim.go", `!grant.Open(now()), !v.opens(grant), now()`, `!grant.Open(now()), now()`, ".", "TestS4AClaim"},
	{"S3 a form sent twice takes two places", "device.go", `others, holder, now())`, `others, rand.Text(), now())`, ".", "TestS3AForm"},
	{"a device more than was sold", "device.go", `others, holder, now())`, `limit, holder, now())`, ".", "TestAnotherDevice|TestS3AForm"},
	{"a form of another site takes a place", "place.go", `if from := v.r.Header.Get("Sec-Fetch-Site"); from != "" {`, `if from := v.r.Header.Get("Sec-Fetch-Site"); from == "x" {`, ".", "TestT6WhatIs"},
	{"a device whose place is gone stays", "verified.go", `if err != nil || holds {`, `if err != nil || !holds || holds {`, ".", "TestADeviceWhose"},
	{"a device link has no end", "receipt.go", `v.target, now().Add(deviceLife))`, `v.target, now().Add(100*deviceLife))`, ".", "TestT6WhatIs"},
	{"T4 a private address opens others", "link.go", `entry.link != linkScope(site, entry.Pass, linkTarget(askedFor(address)))`, `entry.link == ""`, ".", "TestT4APrivate"},
	{"T4 a private address may be disguised", "link.go", `|| !isPlain(r) {`, `{`, ".", "TestT4APrivate"},
	{"T6 a private address is a token", "verified.go", `case known.Site != site.origin || known.link != "":`, `case known.Site != site.origin:`, ".", "TestT4APrivate"},
	{"a private address gives the receipt away", "handler.go", `case own && known.link == "" && isReturn`, `case own && isReturn`, ".", "TestT4APrivate|TestAPrivate"},
	{"G6 a private address writes", "link.go", `r.Method != http.MethodGet && r.Method != http.MethodHead`, `r.Method == ""`, ".", "TestT4APrivate"},
	{"a storage that does not walk is not read", "ledger/archive.go", `List(ctx, prefix, false)`, `List(ctx, prefix, true)`, "./ledger", "TestAStorageThat"},
	{"the probe takes any error for an absence", "ledger/probe.go", "\tcase errors.Is(err, fs.ErrNotExist):\n\tcase err == nil:", "\tcase errors.Is(err, fs.ErrNotExist), err != nil:\n\tcase err == nil:", "./ledger", "TestTheProbe"},
	{"the probe leaves records behind", "ledger/probe.go", `_ = p.erase(ctx, key) // it`, `_ = key // it`, "./ledger", "TestTheProbe"},
	{"an extension begins at its payment", "ledger/extension.go", `case end.After(part.At):`, `case end.IsZero() && end.After(part.At):`, "./ledger", "."},
	{"S4 one pass extends another", "ledger/extension.go", `sold.Pass == before.Pass &&`, `sold.Pass != "" &&`, "./ledger", "."},
	{"T7 a refunded extension counts", "ledger/extension.go", `return part.ClosedFor != "" })`, `return part.ClosedFor == "x" })`, "./ledger", "."},
	{"an extension is not learnt", "verified.go", `until: grant.Until,`, `until: v.Until,`, ".", "TestAnExtensionCounts|TestT7ARefunded"},
	{"an open checkout is taken for an extension", "checkout.go", `entry.Extends == v.extendedSession() &&`, ``, ".", "TestAnOpenCheckout"},
	{"a program pays for what has no end", "programs.go", `if v.extends == nil && known.downloads() == 0 {`, `if v.extends != nil && known.downloads() == 0 {`, ".", "TestNobodyPays"},
	{"an extension on another device comes too late", "visit.go", `err == nil && grant.Open(now()) && v.opens(grant) && v.holds(access)`, `err == nil && grant.Open(now()) && v.opens(grant) && access.Device == "x"`, ".", "TestAnExtensionCounts|TestAnOpenCheckout"},
	{"T3 any expired token asks for another", "token/token.go", `!a.Until.IsZero() && a.Expires.Equal(a.Until) &&`, `a.Session != "" &&`, "./token", "."},
	{"another's purchase replaces the visitor's own", "device.go", `case v.openBy(grant.Terms.Pass) != nil:`, `case v.openBy(grant.Terms.Pass) != nil && purchase == "":`, ".", "TestADeviceLinkDoes"},
	{"a shorter purchase replaces a longer one", "visit.go", `if known != nil && known.outlasts(access) {`, `if known != nil && known.site == "" {`, ".", "TestTheLonger"},

	{"a teaser block falls through to the paid page", "teaser.go", `ServeHTTP(w, request, emptyHandler)`, `ServeHTTP(w, request, v.onward)`, ".", "TestNoTeaserLeads"},
	{"a teaser's address is changed in a copy", "teaser.go", `*v.r.URL = teaser`, `request.URL = &teaser`, ".", "TestNoTeaserLeads"},
	{"G8 a teaser is upgraded", "teaser.go", `"Upgrade", "Connection", "Http2-Settings",`, `"Http2-Settings",`, ".", "TestG8NoTeaser"},
	{"a teaser that an application has not ends the connection", "response.go", `if reason := recover(); reason != nil && reason != http.ErrAbortHandler {`, `if reason := recover(); reason != nil {`, ".", "TestATeaserThat"},
	{"a form pays twice", "programs.go", `if answered, err := v.owedTo(known); answered {`, `if answered, err := v.owedTo(known); answered && err != nil {`, ".", "TestAFormDoes"},
	{"keys see the gate's own query", "handler.go", `r.URL.RawQuery, _ = cleanQuery(came)`, `r.URL.RawQuery = came`, ".", "TestAKeyMayBe"},
	{"what is paid is forgotten for another checkout", "room.go", `case errors.Is(err, ledger.ErrNotPaid):`, `case err == nil || errors.Is(err, ledger.ErrNotPaid):`, ".", "TestManyKeys"},
	{"cookies fill the requests", "room.go", `v.pending.bought > limit {
			return`, `v.pending.bought > 1<<20 {
			return`, ".", "TestNoRoom"},
	{"a file is bought in one spelling", "cookies.go", `for _, path := range paths {`, `for _, path := range paths[:1] {`, ".", "TestAFileIsBought"},
	{"D3 a private address has grace without an answer", "verified.go", `case since != 0 && said == nil && v.link != "":`, `case since != 0 && v.link == "x":`, ".", "TestD3AnEnded"},
	{"D3 downloads are unbounded without an answer", "verified.go", `return v.Downloads`, `return 0`, ".", "TestDownloadsAreBounded"},
	{"a page is a picture when it is said to be", "preview.go", `return status, status >= 300 || isPartType(`, `return status, status >= 0 || isPartType(`, ".", "TestFreeSamplesEnd"},
	{"a missing page is a free sample", "preview.go", `if status < 300 || status`, `if status < 600 || status`, ".", "TestAFreeSample"},
	{"S3 a claim stays open after a full storage", "verified.go", `if err == nil && grant.Terms.Claim {`, `if err == nil && grant.Session == "" {`, ".", "TestS3AClaimIsClosed"},
	{"S3 an old payment is claimed", "claim.go", `now().Sub(grant.At) > claimLife:`, `now().Sub(grant.At) < 0:`, ".", "TestS3AnOld"},
	{"S3 a form is as good as its place", "place.go", `now().Truncate(10*time.Minute).Unix()`, `now().Truncate(10*365*24*time.Hour).Unix()`, ".", "TestS3AFormIsNot"},
	{"handle_errors sees no error of a secret address", "accesslog.go", `server.Errors != nil && len(server.Errors.Routes) > 0 {
		if`, `server.Errors == nil && len(server.Errors.Routes) > 0 {
		if`, ".", "TestErrorsOfSecret"},
	{"an address of its own stands in a Referer", "accesslog.go", `r.Header["Referer"][i] = cleanAddress(referer)`, `r.Header["Referer"][i] = referer`, ".", "TestPrivateAddressesStay"},
	{"a private page tells its address", "handler.go", `w.Header().Set("Referrer-Policy", "no-referrer") // or`, `_ = 0 // or`, ".", "TestPrivateAddressesStay"},
	{"another pass than was named is sold", "checkout.go", "\t\tif name != \"\" {\n\t\t\treturn nil", "\t\tif name == \"x\" {\n\t\t\treturn nil", ".", "TestAnotherPass"},
	{"D3 a program is asked to pay for what cannot be told", "visit.go", `case verdict == unknown:`, `case verdict == unknown && isNavigation(v.r):`, ".", "TestD3AProgram"},
	{"a visitor comes back to another page", "wanted.go", `v.target = samePath(string(target))`, `_ = target`, ".", "TestVisitorsCome"},
	{"the receipt says today's price", "visit.go", `case page.Receipt, page.Gift, page.Given: // which`, `case page.Gift, page.Given: // which`, ".", "TestTheReceiptSays"},

	{"S4 what a checkout brings back decides", "address.go", `query, found := cleanQuery(address.RawQuery)`, `query, found := cleanQuery(address.RawQuery)
	if _, value, ok := strings.Cut(address.RawQuery, paramQuery+"="); ok {
		value, _, _ = strings.Cut(value, "&")
		if raw, err := base64.RawURLEncoding.DecodeString(value); err == nil {
			query, found = string(raw), true
		}
	}`, ".", "TestT4APrivateAddressOfARewritten|TestT4APrivateAddressIsOne"},
	{"W12 a rewrite takes the webhook", "caddyfile.go", `RegisterDirectiveOrder("axra_webhook", httpcaddyfile.Before, "redir")`, `RegisterDirectiveOrder("axra_webhook", httpcaddyfile.Before, "basic_auth")`, ".", "TestW12NoRewrite"},
	{"a teaser leads out of its folder", "teaser.go", `if strings.HasPrefix(name, "http.request.") && !ofPath && (`, `if strings.HasPrefix(name, "x.") && !ofPath && (`, ".", "TestATeaserBy"},
	{"what has ended takes room", "room.go", "\t\tv.forgetEnded()\n", "", ".", "TestWhoBuysEvery"},
	{"who has much may not extend", "room.go", `if v.extends == nil && !v.forProgram && v.pending.bought > limit {`, `if !v.forProgram && v.pending.bought > limit {`, ".", "TestWhoHasMuch"},
	{"another site restarts", "visit.go", `return v.params.Has(paramRestart) && v.r.Header.Get("Sec-Fetch-Site") != "cross-site"`, `return v.params.Has(paramRestart)`, ".", "TestRestartsOf"},
	{"what may still be paid is forgotten", "room.go", `state != session.Cancelled && now().Before(entry.ExpiresAt) {`, `state == "x" {`, ".", "TestS7More"},
	{"D2 a stalled storage holds visitors up", "room.go", `case err != nil:
				return excess, err`, `case err != nil && excess < 0:
				return excess, err`, ".", "TestD2AStalled"},
	{"own purchases are swallowed", "visit.go", `entry = entry.Keep(grant.Until, now()) // for`, `entry.Scope = "" // for`, ".", "TestTheLonger"},
	{"an extension that stands alone has a place", "visit.go", `if grant.Session != entry.Session {
		access.Device`, `if grant.Session != "" {
		access.Device`, ".", "TestAnExtensionThatStands"},
	{"an outer gate keeps what is for an inner one", "nested.go", `return v.saleOf(v.params.Get(paramCheckout)) == nil`, `return false`, ".", "TestNested"},
	{"an outer gate gives its own away", "nested.go", `return v.pendingFor(id) == nil && !v.hasToken(id)`, `return true`, ".", "TestS3|TestVisitorPays|TestTwoPasses|TestNested"},
	{"a kept purchase hinders others", "visit.go", `entry.State == session.Kept && v.isNeedless(grant):`, `entry.State == "x" && v.isNeedless(grant):`, ".", "TestTheLonger"},
	{"a decision is not heeded", "ledger/decision.go", `Kind(made[len(made)-1].Holder) != Restored, err`, `Kind(made[0].Holder) == Refunded, err`, "./ledger", "Decision"},
	{"the first decision counts", "ledger/decision.go", `Kind(made[len(made)-1].Holder) != Restored, err`, `Kind(made[0].Holder) != Restored, err`, "./ledger", "Decision"},
	{"D4 a garbled decision is passed over", "ledger/decision.go", `return nil, err // a garbled one`, `return made, nil // a garbled one`, "./ledger", "TestD4AGarbledDecision"},
	{"an extension outlives a revoked purchase", "ledger/extension.go", `if revoked && whole.ClosedFor == "" {`, `if revoked && len(parts) == 1 {`, "./ledger", "TestADecisionIsAbout"},
	{"an event gives access", "ledger/decision.go", "\tif IsGiven(session) {\n\t\treturn Given\n\t}\n", "", "./ledger", "TestNoEventGives|TestWhatIsGiven"},
	{"the sweep begins with the rest", "ledger/sweep.go", "\tif err := s.delete(ctx, key(fact.Kind, fact.Session)); err != nil {\n\t\treturn err\n\t}\n", "\tdefer func() { _ = s.delete(ctx, key(fact.Kind, fact.Session)) }()\n", "./ledger", "TestASweepThatIs"},
	{"the sweep takes what is extended", "ledger/sweep.go", "case !s.isOver(grant.Until):", "case grant.Session == \"\":", "./ledger", "TestTheSweepDeletes"},
	{"the sweep takes what has no end", "ledger/sweep.go", `return !end.IsZero() && end.Before(s.before)`, `return end.Before(s.before)`, "./ledger", "TestTheSweepDeletes"},
	{"the sweep takes a known refund", "ledger/sweep.go", `if err != nil || known {`, `if err != nil || !known {`, "./ledger", "TestTheSweepDeletes"},
	{"anything may be deleted", "ledger/archive.go", `if _, _, ok := parseKey(key); !ok {`, `if key == "" {`, "./ledger", "TestNothingBut"},
	{"an export that was cut off is whole", "ledger/transfer.go", `return m.done, fmt.Errorf("%w: its last line is missing", ErrTransfer)`, `return m.done, nil`, "./ledger", "Import"},
	{"what opens is imported first", "ledger/archive.go", "\tRefunded, DisputeLost, Disputed, DisputeWon, Decision, eventful,\n\tDevice", "\tPaid, Refunded, DisputeLost, Disputed, DisputeWon, Decision, eventful,\n\tDevice", "./ledger", "TestHalfAnImport"},
	{"a record is imported under another key", "ledger/transfer.go", `if !isKeyOf(fact, root+entry.Key) {`, `if fact.Kind == "" {`, "./ledger", "TestWhatIsNoExport"},
	{"a refund counts at the time of the sale", "ledger/report.go", `enter(event.At, func(l *Line) *Sum { return &l.Refunds })`, `enter(paid.At, func(l *Line) *Sum { return &l.Refunds })`, "./ledger", "TestTheReport"},
	{"W6 an old event opens what was swept", "webhook.go", `if err != nil || swept {`, `if err != nil {`, ".", "TestW6AnEventThatIs"},
	{"an export is complete whatever is missing", "ledger/transfer.go", `exportEnd{End: true, Records: done.Records, Garbled: done.Garbled}`, `exportEnd{End: true, Records: done.Records}`, ".", "TestWhatCannotBeRead"},
	{"a backup that is not complete ends well", "command_keeping.go", `if err == nil && done.Garbled > 0 {`, `if err == nil && done.Garbled < 0 {`, ".", "TestWhatCannotBeRead"},
	{"programs do not hear of what cannot be read", "command_purchases.go", "\t\twarnUnreadable(cmd, report.Unreadable)\n\t\tswitch", "\t\tswitch", ".", "TestWhatCannotBeRead"},
	{"a list leaves out in silence", "command_purchases.go", "\twarnUnreadable(cmd, unreadable)\n\ttotal", "\t_ = unreadable\n\ttotal", ".", "TestWhatCannotBeRead"},
	{"what is unfitting and unreadable is not counted", "ledger/report.go", "\t\tcase err != nil:\n\t\t\treport.Unreadable++", "\t\tcase err != nil:", "./ledger", "TestTheReport"},
	{"strangers' requests are trusted together", "command_keeping.go", `case trust && len(all) > 1:`, `case trust && len(all) > 1000:`, ".", "TestAReplay"},
	{"a replay takes the first request only", "command_keeping.go", `for _, asked := range all {`, `for _, asked := range all[:1] {`, ".", "TestAReplay"},
	{"a replay reads the body in one way only", "admin_keeping.go", `asked.Body}).Bodies() {`, `asked.Body}).Bodies()[:1] {`, ".", "TestAReplay"},
	{"check: a key set answers the whole site", "check_sites.go", `return len(samplesOfSets(caddyhttp.MatcherSets{{matcher}})) > 0`, `return len(samplesOfSets(caddyhttp.MatcherSets{{matcher}})) >= 0`, ".", "TestCheckFindsAKeySet"},
	{"check: signing keys are for all to read", "check_secrets.go", `err == nil && key.CanSign() {`, `err == nil && !key.CanSign() {`, ".", "TestCheckFindsSigningKeys"},
	{"an unsigned event is replayed", "admin_keeping.go", `if unsigned != nil && !asked.Trust {`, `if unsigned != nil && asked.Body == nil {`, ".", "TestAReplay"},
	{"T7 a decision waits for the recheck", "ledger/decision.go", `defer l.tell(ShardOf(session))`, `defer l.tell()`, ".", "TestTheOperatorRevokes"},
	{"what is given opens everywhere", "device.go", "\tif ledger.IsGiven(grant.Session) {\n\t\treturn devicesOf(grant.Terms)\n\t}", "\tif ledger.IsGiven(grant.Session) {\n\t\treturn maxDevices\n\t}", ".", "TestTheOperatorGives"},

	{"conformance: the sandbox takes less than Axra", "sandbox/money.go", `if value.Cmp(least) < 0 {`, `if value.Cmp(least) < -1 {`, "./sandbox", "TestConformance$"},
	{"conformance: the sandbox takes a shorter time than Axra", "sandbox/api.go", `seconds < minExpiresIn ||`, `seconds < 1 ||`, "./sandbox", "TestConformance$"},
	{"conformance: the sandbox lets another key in", "sandbox/auth.go", `if same(key, s.cfg.APIKey) {`, `if key != "" {`, "./sandbox", "TestConformance$"},
	{"conformance: production is asked", "sandbox/conformance_api_test.go", `case !strings.HasPrefix(at.key, "bk_test_"):`, `case !strings.HasPrefix(at.key, "bk_"):`, "./sandbox", "TestConformanceNever"},
	{"conformance: the production host is asked", "sandbox/conformance_api_test.go", `== productionHost {`, `== "" {`, "./sandbox", "TestConformanceNever"},
	{"conformance: a redirect is followed", "sandbox/conformance_api_test.go", `return http.ErrUseLastResponse }`, `return nil }`, "./sandbox", "TestConformanceThat"},
	{"conformance: a secret is printed", "sandbox/conformance_api_test.go", `got.complaint = a.hide(got.message())`, `got.complaint = got.message()`, "./sandbox", "TestConformanceHides"},
	{"conformance: a run has no end", "sandbox/conformance_api_test.go", `a.calls > maxLiveCalls {`, `a.calls > 1000 {`, "./sandbox", "TestConformanceAsks"},
	{"conformance: an outage refutes", "sandbox/conformance_api_test.go", `a.status == http.StatusTooManyRequests, a.status >= 500:`, `a.status == 1:`, "./sandbox", "TestConformanceThat"},
	{"conformance: what was not asked is an ok", "sandbox/conformance_test.go", `		tellNotRun(os.Stdout, err)
`, ``, "./sandbox", "TestConformanceWithoutAKey"},
	{"conformance: a changed line break refutes", "sandbox/conformance_webhook_test.go", `return v.Verify(captured.Header, body) == nil }`, `return body == nil }`, "./sandbox", "TestConformanceReads"},
	{"conformance: an unsigned delivery is confirmed", "sandbox/conformance_webhook_test.go", `d.verifier.Verify(d.header, d.body); err != nil {`, `d.verifier.Verify(d.header, d.body); err == nil {`, "./sandbox", "TestConformanceReports"},

	{"a redelivered payment is counted again", "webhook.go", "\tif !fresh {\n\t\treturn \"known\", nil\n\t}\n\tif sold.Extends", "\tif !fresh && err != nil {\n\t\treturn \"known\", nil\n\t}\n\ta.logger.Info(\"payment completed\"", ".", "TestMoneyIs|TestEventsTell"},
	{"a refund before its payment is not counted", "events.go", `if grant.ClosedFor != "" && grant.Session == fact.Session {`, `if grant.ClosedFor != "" && grant.Session == "" {`, ".", "TestMoneyIs"},
	{"metrics end with a reload", "metrics.go", `err != nil && !errors.As(err, &known) {`, `err != nil && errors.As(err, &known) {`, ".", "TestMetrics"},
	{"each status of a program counts as a use", "metrics.go", `_, first := a.shared.used.SetIfAbsent(session, new(struct{})); first {`, `a.shared != nil {`, ".", "TestAProgramUses"},
	{"a crawler counts as shown", "metrics.go", "\tif !isNavigation(v.r) {\n\t\treturn\n\t}\n\tfor", "\tfor", ".", "TestOffersAndTeasers"},
	{"event handlers are waited for", "events.go", "\t\tgo q.run()", "\t\tq.mu.Unlock()\n\t\tq.run()\n\t\tq.mu.Lock()", ".", "TestEventHandlersCannot"},
	{"events pile up without a bound", "events.go", `if len(q.queue) >= maxAnnouncements {`, `if len(q.queue) >= maxAnnouncements*1000 {`, ".", "TestEventsThatWait"},
	{"the end of a configuration loses events", "module.go", "\twaits.Go(a.announcer.flush)\n", "", ".", "TestTheEndOfAConfiguration|TestEventsThatWait"},
	{"the end of a configuration waits twice", "module.go", "\twaits.Go(a.awaitWork)\n\twaits.Wait()\n", "\twaits.Wait()\n\ta.awaitWork()\n", ".", "TestTheEndOfAConfigurationIs"},
	{"a client that is gone stays suspended", "module.go", `if client, ok := value.(*axraClient); ok && client.suspended.Load() {`, `if value != nil {`, ".", "TestAClientThat|TestCallsThatFail"},
	{"a configuration that is tried is counted", "handler.go", `	h.app.register(h)`, `	beginSteps(h.sales)
	h.app.register(h)`, ".", "TestAFunnelBegins"},
	{"the debug log has whole ids", "events.go", `json.Marshal(shorten(string(id)))`, `json.Marshal(string(id))`, ".", "TestEventsTell"},

	{"check: a gate that comes late is not missed", "check_order.go", `		if slices.Contains(t.gates, gate) {
			return true`, `		if !slices.Contains(t.gates, nil) {
			return true`, ".", "TestCheckFindsFaultsOfTheOrder"},
	{"check: a gate before the webhook is not seen", "check_sites.go", `	case t.gated():
		found.fail`, `	case t.gated() && path == "":
		found.fail`, ".", "TestCheckFindsAWebhook"},
	{"check: links are files of their own", "check_files.go", `if os.SameFile(file.info, info) {`, `if file.name == name {`, ".", "TestCheckFindsOpenFiles"},
	{"check: compressed copies are files of their own", "check_files.go", `if file.by = o.identify(original); file.by != nil {`, `if file.by = o.identify(original + "/"); file.by != nil {`, ".", "TestCheckFindsOpenFiles"},
	{"check: a hidden file counts as free", "check_files.go", `case file.free == "" && t.serves(server):`, `case file.free == "":`, ".", "TestCheckFindsOpenFiles"},
	{"check: a storage that hangs is a good one", "check_storage.go", `	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("%w; the record %s may be left there", ledger.ErrStorageTimeout, key)`, `	case <-ctx.Done():
		return time.Time{}, nil`, ".", "TestCheckEndsWhereStorageHangs"},
	{"check: free files below a page are not seen", "check_files.go", `if file.gate != nil || !strings.HasPrefix(file.free, folder) {`, `if file.gate == nil || !strings.HasPrefix(file.free, folder) {`, ".", "TestCheckFindsOpenFiles"},
	{"a replay that changes nothing succeeds", "command_keeping.go", `if !outcomes[result.Outcome].idle {`, `if result.Outcome != "" {`, ".", "TestAReplayThat"},
	{"a payment that does not fit seems to open", "command_purchases.go", `if info.State == string(ledger.Mismatch) {`, `if info.State == "" {`, ".", "TestAPaymentThatDoesNotFit"},
	{"a list in a state that there is not", "command_purchases.go", `if state != "" && !slices.Contains(states, state) {`, `if state == "" && !slices.Contains(states, "open") {`, ".", "TestAFilter"},
	{"times in the wrong order find nothing", "admin.go", `if !to.IsZero() && !from.Before(to) {`, `if to.IsZero() && !from.Before(from) && from.Year() > 9999 {`, ".", "TestAFilter"},
	{"check: the record stays in storage", "check_storage.go", `err := storage.Delete(context.WithoutCancel(ctx), key); err`, `err := ctx.Err(); err`, ".", "TestCheckTriesStorage|TestCheckKeeps"},
	{"check: a storage is taken as it is", "check_storage.go", `if err := ledger.Probe(ctx, storage); err != nil {`, `if err := ledger.Probe(ctx, storage); err == nil && ctx.Err() != nil {`, ".", "TestCheckFindsAStorage"},
	{"check: a test secret passes beside a live key", "check_secrets.go", `other != "" && other != mode {`, `other == mode {`, ".", "TestCheckFindsFaultsOfSecrets"},
	{"check: warnings and errors end well", "command_check.go", `failed > 0 || strict &&`, `failed > 1000 || strict &&`, ".", "TestCheckFindsFaultsOfTheOrder"},
	{"check: a refused key is good", "session/probe.go", `if errors.Is(err, ErrRefused) {`, `if errors.Is(err, ErrRefused) || errors.Is(err, ErrCredentials) {`, ".", "TestCheckLive"},
	{"check: any 405 is the webhook's", "check_live.go", `status == http.StatusMethodNotAllowed && response.Header.Get("Allow") == http.MethodPost:`, `status == http.StatusMethodNotAllowed:`, ".", "TestCheckLive"},
	{"a part of a purchase is swept alone", "ledger/sweep.go", `whole != fact.Session {`, `whole == "" {`, "./ledger", "TestTheSweepTakes"},
	{"a purchase is swept before its parts", "ledger/sweep.go", "\tfor _, session := range sessions {\n\t\tpart, err", "\tfor _, session := range sessions[:0] {\n\t\tpart, err", "./ledger", "TestTheSweepTakes"},
	{"a sweep is not noted before it begins", "sweep.go", `record.Keep == 0 || keep < record.Keep`, `record.Keep < 0 || keep < record.Keep`, ".", "TestW6AnEvent"},
	{"a sweep that failed counts", "sweep.go", "\tif err != nil {\n\t\treturn swept, err\n\t}\n\trecord.Done", "\trecord.Done", ".", "TestASweepThatFails"},
	{"an import loses an extension", "ledger/merge.go", `case fact.Kind != Extension && fact.Kind != Fetch:`, `case fact.Kind != Fetch:`, "./ledger", "TestExtensionsOfBoth"},
	{"an import undoes a later revocation", "ledger/merge.go", `if !later || theirs.Holder == ours.Holder {`, `if _ = later; theirs.Holder == ours.Holder {`, "./ledger", "TestTheLaterDecision"},
	{"whole ids are logged", "command_purchases.go", `postAdmin(cmd, "purchase", map`, `postAdmin(cmd, "purchase?id="+args[0], map`, ".", "TestNoCommandLeaves"},
	{"K2 the admin API looks into a configuration in the making", "admin.go", `running := caddy.ActiveContext()`, `running := caddy.Context{}`, ".", "TestTheOperatorFinds"},
}
