package e2e

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	sdk "github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
	"github.com/coulomb/artifact-store/test/size"
)

const (
	historyReplicas = 3
	// historyClients of each replica work at the same time.
	historyClients = 3
	// historyNames are the packages of a round. Few, so that clients meet.
	historyNames = 3
	// historyRound is how long clients work on the packages of one round.
	historyRound = time.Second
	// historyCheck bounds the search for an order.
	historyCheck = time.Minute
)

// historyRounds is how many histories are checked.
var historyRounds = size.Of(6, 120)

// packages is the state that clients see: what is published under each name, 0 for
// nothing. A content is known by its number of bytes.
type packages [historyNames]int

// The calls of a history.
const (
	publishes = "publish"
	gets      = "get"
	lists     = "list"
)

type asked struct {
	verb          string
	name, content int
}

type told struct {
	unknown  bool // no answer, or one that leaves it open
	conflict bool
	found    packages
}

// serial is the registry as one thread would be it.
var serial = porcupine.Model{
	Init: func() any { return packages{} },
	Step: func(state, input, output any) (bool, any) {
		now, call, answer := state.(packages), input.(asked), output.(told)
		switch call.verb {
		case publishes:
			before := now[call.name]
			if before == 0 && !answer.conflict {
				now[call.name] = call.content
			}
			is := now[call.name] == call.content
			return answer.unknown || answer.conflict == !is && (before != 0 || is), now
		case gets:
			return now[call.name] == answer.found[call.name], now
		}
		return now == answer.found, now
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// TestHistories has clients of three replicas publish, get and list the same few
// packages while connections are ended, the database falls silent, the standby takes
// over and replicas are killed: there is an order of all calls, each between its
// beginning and its answer, that explains every answer (linearizability).
func TestHistories(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(size.Seed(t), 0)) //nolint:gosec // not for secrets
	primary, standby := servers.PostgresPair(t)
	proxy := faultproxy.TCP(t, "http://"+primary.Address)
	root := t.TempDir()
	database := primary.URL(strings.TrimPrefix(proxy.URL, "http://"), standby.Address)
	w := newWorld(t, newFiles(t), database, root, "local", map[string]place{"local": newFolder(t, root, "local")})
	all := &replicas{managers: []*programs.Manager{w.manager}}
	for len(all.managers) < historyReplicas {
		all.managers = append(all.managers, w.control.start(t, database, t.TempDir(), root))
	}
	for n := range all.managers {
		all.connect(t, n)
	}

	serving, calls := primary, 0
	for round := range historyRounds {
		h := all.work(t, fmt.Sprintf("round-%d", round), random.Uint64())
		time.Sleep(time.Duration(random.Int64N(int64(historyRound / 2)))) // the instant is the point
		silent := false
		switch fault := random.IntN(4); {
		case round == historyRounds/2:
			// The primary is silent for good, and the standby takes over.
			silent = true
			proxy.Arm(faultproxy.Fault{Where: faultproxy.InRequest, Action: faultproxy.Stall, Always: true})
			standby.Promote()
			serving = standby
		case fault == 0:
			serving.Do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'artifact-store'")
		case fault == 1 && serving == primary:
			proxy.Arm(faultproxy.Fault{Where: faultproxy.InRequest, Action: faultproxy.Stall, Always: true})
			time.Sleep(time.Duration(random.Int64N(int64(historyRound / 2))))
			proxy.Arm()
		default:
			n := random.IntN(historyReplicas)
			all.managers[n].Kill()
			h.stop()
			all.managers[n] = w.control.start(t, database, t.TempDir(), root)
			all.connect(t, n)
		}
		time.Sleep(time.Until(h.began.Add(historyRound)))
		h.stop()
		calls += len(h.operations)
		switch result, _ := porcupine.CheckOperationsVerbose(serial, h.operations, historyCheck); result {
		case porcupine.Illegal:
			for _, o := range h.operations {
				t.Logf("%d: %d to %d: %s", o.ClientId, o.Call, o.Return, serial.DescribeOperation(o.Input, o.Output))
			}
			t.Fatalf("round %d: no order explains what %d calls were answered", round, len(h.operations))
		case porcupine.Unknown:
			t.Fatalf("round %d: no answer within %s for %d calls", round, historyCheck, len(h.operations))
		}
		if silent {
			all.waitReady(t)
		}
	}
	w.manager = all.managers[0]
	w.checkViews(t)
	t.Logf("%d calls in %d rounds", calls, historyRounds)
	if calls < historyRounds*historyNames*historyReplicas {
		t.Error("hardly any call was answered: little was tested")
	}
}

// replicas are managers on one database.
type replicas struct {
	managers []*programs.Manager
	clients  [historyReplicas]*sdk.Client
}

func (r *replicas) connect(t *testing.T, n int) {
	t.Helper()
	r.clients[n] = r.managers[n].Client(t)
}

// waitReady waits until each replica publishes.
func (r *replicas) waitReady(t *testing.T) {
	t.Helper()
	for n, client := range r.clients {
		programs.Eventually(t, func() error {
			_, err := publish(background, client, registry.PackageRef{Producer: "ready", Name: fmt.Sprint(n), Version: fmt.Sprint(time.Now().UnixNano())}, 1)
			return err
		})
	}
}

// history is what clients have seen in one round.
type history struct {
	producer string
	began    time.Time
	cancel   context.CancelFunc
	all      sync.WaitGroup

	mu         sync.Mutex
	operations []porcupine.Operation
}

// work begins a round: clients of each replica call at random until it is stopped.
func (r *replicas) work(t *testing.T, producer string, seed uint64) *history {
	t.Helper()
	ctx, cancel := context.WithCancel(background)
	h := &history{producer: producer, began: time.Now(), cancel: cancel}
	t.Cleanup(h.stop)
	for n := range historyReplicas * historyClients {
		client := r.clients[n%historyReplicas]
		random := rand.New(rand.NewPCG(seed, uint64(n))) //nolint:gosec // not for secrets
		h.all.Go(func() {
			for ctx.Err() == nil {
				call := asked{verb: []string{publishes, gets, lists}[random.IntN(3)], name: random.IntN(historyNames), content: 1 + random.IntN(2)}
				if err := h.call(ctx, client, n, call); err != nil && ctx.Err() == nil && !sdk.IsTemporary(err) {
					t.Errorf("%s: %+v: %v", producer, call, err)
				}
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // so that a history stays small enough to be checked
			}
		})
	}
	return h
}

// stop ends a round. It may be called again.
func (h *history) stop() {
	h.cancel()
	h.all.Wait()
}

// call makes one call and records it, unless it had no effect and no answer.
func (h *history) call(ctx context.Context, client *sdk.Client, id int, call asked) error {
	ref := registry.PackageRef{Producer: h.producer, Name: fmt.Sprint(call.name), Version: "1"}
	var answer told
	began := time.Since(h.began)
	var err error
	switch call.verb {
	case publishes:
		var sealing time.Duration
		sealing, err = publish(ctx, client, ref, call.content)
		if sealing == 0 {
			return err // it did not come to the publish
		}
		began = time.Since(h.began) - sealing
		answer.conflict = errors.Is(err, registry.ErrConflict)
		answer.unknown = err != nil && !answer.conflict
	case gets:
		var found registry.Package
		found, err = client.GetPackage(ctx, ref)
		if errors.Is(err, registry.ErrNotFound) {
			err = nil
		}
		answer.found[call.name] = int(found.Bytes)
	case lists:
		var page registry.PackagePage
		page, err = client.ListPackages(ctx, registry.PackageFilter{Producer: h.producer})
		for _, p := range page.Packages {
			answer.found[p.Name[0]-'0'] = int(p.Bytes)
		}
	}
	if err != nil && call.verb != publishes {
		return err
	}
	operation := porcupine.Operation{ClientId: id, Input: call, Call: int64(began), Output: answer, Return: int64(time.Since(h.began))}
	if answer.unknown {
		operation.Return = math.MaxInt64 // it may take effect at any time, or never
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, operation)
	if answer.conflict {
		return nil
	}
	return err
}

// publish publishes a package of one file with so many bytes, and says how long the last
// request took; 0 if it was not made.
func publish(ctx context.Context, client *sdk.Client, ref registry.PackageRef, bytes int) (sealing time.Duration, err error) {
	upload, err := client.OpenUpload(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "test"})
	if err != nil {
		return 0, err
	}
	content := strings.Repeat("x", bytes)
	if _, err := client.PutFile(ctx, upload.ID, "file", registry.Content{Reader: strings.NewReader(content), Size: int64(bytes)}); err != nil {
		return 0, err
	}
	began := time.Now()
	_, err = client.Publish(ctx, upload.ID, nil)
	return time.Since(began), err
}
