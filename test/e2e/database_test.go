package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
	"github.com/coulomb/artifact-store/test/size"
)

const (
	// longestRequest is how long any request may take, whatever the database does.
	longestRequest = 30 * time.Second
	// failoverWithin is how soon pushes go through once there is a primary again.
	failoverWithin = 15 * time.Second
	// databaseClients push and pull at the same time.
	databaseClients = 32
)

// calm is how long clients work undisturbed before and after each fault.
var calm = size.Of(2*time.Second, 40*time.Second)

// TestDatabaseAway has the primary fall silent, promotes the standby, and kills
// connections in the midst of publishing, while clients push and pull. What was
// answered is there, once; nothing waits for long; everything recovers by itself.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	primary, standby := servers.PostgresPair(t)
	proxy := faultproxy.TCP(t, "http://"+primary.Address)
	root := t.TempDir()
	w := newWorld(t, newFiles(t), primary.URL(strings.TrimPrefix(proxy.URL, "http://"), standby.Address), root, "local", map[string]place{"local": newFolder(t, root, "local")})
	load := startLoad(t, w.manager.Client(t), databaseClients)
	stream := w.openStream(t)

	time.Sleep(calm)
	primary.Do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'artifact-store'")
	load.goesOn(t, failoverWithin, "after its connections were ended")

	proxy.Arm(faultproxy.Fault{Where: faultproxy.InRequest, Action: faultproxy.Stall, Always: true})
	silent := time.Now()
	for status := 0; status != http.StatusServiceUnavailable; {
		status = w.readyz(t)
		if time.Since(silent) > failoverWithin {
			t.Fatalf("/readyz is %d %s after the database fell silent", status, failoverWithin)
		}
	}
	time.Sleep(time.Until(silent.Add(size.Of(5*time.Second, time.Minute))))
	standby.Promote()
	load.goesOn(t, failoverWithin, "after the standby became the primary")
	time.Sleep(calm)
	if status := w.readyz(t); status != http.StatusOK {
		t.Errorf("/readyz is %d afterwards", status)
	}

	published := load.stop()
	w.checkReadOnly(t, standby)
	if load.longest > longestRequest {
		t.Errorf("a request took %s", load.longest)
	}
	w.checkOnce(t, published)
	w.checkViews(t)
	stream.wait(t, fmt.Sprintf("event: %s", "v1.package.published"), len(published))
	t.Logf("%d packages, the longest request took %s", len(published), load.longest.Round(time.Millisecond))
}

// checkReadOnly makes the database refuse writes, as a provider does whose disk is
// full: pushes are told why, what is stored is served, and nobody has to restart anything.
func (w *world) checkReadOnly(t *testing.T, server *servers.PostgresServer) {
	t.Helper()
	set := func(readOnly string) {
		server.Do("ALTER SYSTEM SET default_transaction_read_only = " + readOnly)
		server.Do("SELECT pg_reload_conf()")
	}
	client := w.manager.Client(t)
	stored := registry.PackageRef{Producer: "e2e", Name: "read-only", Version: "before"}
	if _, err := publish(background, client, stored, 1); err != nil {
		t.Fatal(err)
	}
	const words = "the database is read-only"
	set("on")
	programs.Eventually(t, func() error {
		refused := registry.PackageRef{Producer: "e2e", Name: "read-only", Version: fmt.Sprint(time.Now().UnixNano())}
		if _, err := publish(background, client, refused, 1); !errors.Is(err, registry.ErrDatabase) || !strings.Contains(err.Error(), words) {
			return fmt.Errorf("a push: %v", err)
		}
		health, err := client.Health(background)
		if err != nil || health.Status != registry.HealthDegraded || !strings.Contains(strings.Join(health.Reasons, "\n"), words) {
			return fmt.Errorf("the health is %+v, %v", health, err)
		}
		return nil
	})
	if _, err := client.GetPackage(background, stored); err != nil {
		t.Errorf("reading: %v", err)
	}
	if status := w.readyz(t); status != http.StatusOK {
		t.Errorf("/readyz is %d, although everything can be read", status)
	}
	set("off")
	programs.Eventually(t, func() error {
		_, err := publish(background, client, registry.PackageRef{Producer: "e2e", Name: "read-only", Version: "after"}, 1)
		if health, wrong := client.Health(background); err == nil && (wrong != nil || health.Status != registry.HealthOK) {
			err = fmt.Errorf("the health is %+v, %v", health, wrong)
		}
		return err
	})
}

// readyz is the status of the probe.
func (w *world) readyz(t *testing.T) int {
	t.Helper()
	answer, err := http.Get(w.manager.URL + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // only its status counts
	return answer.StatusCode
}

// checkOnce wants one publication of each package that was answered, and none twice.
func (w *world) checkOnce(t *testing.T, answered map[registry.PackageRef]bool) {
	t.Helper()
	times := map[string]int{}
	for after := uint64(0); ; {
		page, err := w.manager.Client(t).ReadEvents(background, registry.EventQuery{After: after, Limit: registry.MaxEventPage})
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range page.Events {
			if after = event.Position; event.Kind == "v1.package.published" {
				times[event.Subject]++
			}
		}
		if len(page.Events) == 0 {
			break
		}
	}
	for subject, n := range times {
		if n != 1 {
			t.Errorf("%s was published %d times", subject, n)
		}
	}
	for ref := range answered {
		if times[ref.String()] == 0 {
			t.Errorf("%s was answered and is gone", ref)
		}
	}
}

// load is clients that push and pull until it is stopped.
type load struct {
	client *sdk.Client
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu       sync.Mutex
	answered map[registry.PackageRef]bool
	longest  time.Duration
}

func startLoad(t *testing.T, client *sdk.Client, clients int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(background)
	l := &load{client: client, cancel: cancel, answered: map[registry.PackageRef]bool{}}
	t.Cleanup(func() { l.stop() })
	for n := range clients {
		l.all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				ref := registry.PackageRef{Producer: "e2e", Name: fmt.Sprintf("load-%d", n), Version: fmt.Sprint(i)}
				if err := l.one(ctx, ref); err != nil && ctx.Err() == nil && !sdk.IsTemporary(err) {
					t.Errorf("%s: %v", ref, err)
				}
			}
		})
	}
	return l
}

// one pushes a package and pulls it.
func (l *load) one(ctx context.Context, ref registry.PackageRef) (err error) {
	content := "content of " + ref.String()
	var upload registry.Upload
	step := func(do func() error) {
		if err == nil {
			began := time.Now()
			err = do()
			l.mu.Lock()
			defer l.mu.Unlock()
			l.longest = max(l.longest, time.Since(began))
		}
	}
	step(func() (err error) {
		upload, err = l.client.OpenUpload(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "test"})
		return err
	})
	step(func() error {
		_, err := l.client.PutFile(ctx, upload.ID, "file", registry.Content{Reader: strings.NewReader(content), Size: int64(len(content)), Digests: digest.Of([]byte(content))})
		return err
	})
	step(func() error { _, err := l.client.Publish(ctx, upload.ID, nil); return err })
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.answered[ref] = true
	l.mu.Unlock()
	step(func() error { _, err := l.client.GetPackage(ctx, ref); return err })
	step(func() error {
		body, _, err := l.client.OpenBlob(registry.WithHolder(ctx, ref.Producer), digest.Of([]byte(content)).SHA256, nil)
		if err != nil {
			return err
		}
		defer body.Close() //nolint:errcheck // it is only read
		got, err := io.ReadAll(body)
		if err == nil && string(got) != content {
			err = fmt.Errorf("got %q, want %q", got, content)
		}
		return err
	})
	return err
}

// goesOn waits until a package that is begun now is answered.
func (l *load) goesOn(t *testing.T, within time.Duration, when string) {
	t.Helper()
	began := time.Now()
	for n := 0; ; n++ {
		err := l.one(background, registry.PackageRef{Producer: "e2e", Name: "probe", Version: fmt.Sprintf("%d.%d", began.UnixNano(), n)})
		if time.Since(began) > within {
			t.Fatalf("%s: nothing goes through within %s: %v", when, within, err)
		}
		if err == nil {
			t.Logf("%s: a package goes through after %s", when, time.Since(began).Round(time.Millisecond))
			return
		}
		if !sdk.IsTemporary(err) {
			t.Fatalf("%s: %v", when, err)
		}
	}
}

// stop ends the clients and returns what was answered.
func (l *load) stop() map[registry.PackageRef]bool {
	l.cancel()
	l.all.Wait()
	return l.answered
}

// stream is one connection of the event stream.
type stream struct {
	cancel context.CancelFunc
	lines  chan string
}

func (w *world) openStream(t *testing.T) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(background)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.manager.URL+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{cancel: cancel, lines: make(chan string, 1<<20)}
	go func() {
		defer close(s.lines)
		defer response.Body.Close() //nolint:errcheck // it is only read
		for scanner := bufio.NewScanner(response.Body); scanner.Scan(); {
			s.lines <- scanner.Text()
		}
	}()
	t.Cleanup(cancel)
	return s
}

// wait wants so many lines of this text from the connection that was opened at first.
func (s *stream) wait(t *testing.T, text string, times int) {
	t.Helper()
	late := time.After(longestRequest)
	for seen := 0; seen < times; {
		select {
		case line, open := <-s.lines:
			if !open {
				t.Fatalf("the event stream ended after %d of %d", seen, times)
			}
			if line == text {
				seen++
			}
		case <-late:
			t.Fatal(errors.New("the event stream has not all events"))
		}
	}
}
