package database_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/coulomb/artifact-store/pkg/database"
)

func TestGroup(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		db := openCounters(t, address)
		refused := errors.New("refused")
		const members = 200
		var all sync.WaitGroup
		for n := range members {
			all.Go(func() {
				name := fmt.Sprint("member ", n)
				err := db.Group(t.Context(), func(tx database.Tx) error {
					if err := set(t.Context(), tx, name, n); err != nil {
						return err
					}
					switch n % 10 {
					case 3:
						return refused
					case 5: // on PostgreSQL an error makes every further statement fail, until undone
						_, err := tx.ExecContext(t.Context(), "SELECT no_such_column FROM counters")
						return err
					case 7:
						panic("a bug")
					}
					return nil
				})
				fails := n%10 == 3 || n%10 == 5 || n%10 == 7
				if (err != nil) != fails || n%10 == 3 && !errors.Is(err, refused) {
					t.Errorf("%s: %v", name, err)
				}
				want := int64(n)
				if fails {
					want = -1
				}
				if got := value(t, db, name); got != want {
					t.Errorf("%s has value %d, expected %d", name, got, want)
				}
			})
		}
		all.Wait()
	})
}

// A failure after changes has the others run a second time, under savepoints; one that has
// only read something, on SQLite, has not.
func TestGroupRunsAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		db := openCounters(t, address)
		refused := errors.New("refused")
		for _, writes := range []bool{false, true} {
			runs, begun, release := 0, make(chan struct{}), make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() {
				if err := db.Group(t.Context(), func(database.Tx) error { close(begun); <-release; return nil }); err != nil {
					t.Error(err)
				}
			})
			<-begun
			all.Go(func() {
				if err := db.Group(t.Context(), func(tx database.Tx) error {
					runs++
					if writes {
						if err := set(t.Context(), tx, "refused", 1); err != nil {
							return err
						}
					} else if _, err := committed(t.Context(), db); err != nil {
						return err
					}
					return refused
				}); !errors.Is(err, refused) {
					t.Errorf("got %v", err)
				}
			})
			close(release)
			all.Wait()
			want := 2
			if !writes && db.Engine() == database.SQLite {
				want = 1
			}
			if got := value(t, db, "refused"); runs != want || got != -1 {
				t.Errorf("writing %v: it ran %d times, want %d; the value is %d", writes, runs, want, got)
			}
		}
	})
}

// While the first member holds its transaction open, the others wait and share the next one.
func TestGroupSharesCommits(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		db := openCounters(t, address)
		begun, release := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			err := db.Group(t.Context(), func(database.Tx) error { close(begun); <-release; return nil })
			if err != nil {
				t.Error(err)
			}
		})
		<-begun
		transactions := make(map[int]bool) // members run one after the other
		ready := make(chan struct{}, 50)
		for n := range 50 {
			all.Go(func() {
				ready <- struct{}{}
				err := db.Group(t.Context(), func(tx database.Tx) error {
					before, err := committed(t.Context(), db)
					transactions[before] = true
					return errors.Join(err, set(t.Context(), tx, fmt.Sprint(n), n))
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		for range 50 {
			<-ready
		}
		close(release)
		all.Wait()
		// They were about to call Group when the first one ended: most joined, and hardly any ran alone.
		if len(transactions) > 25 {
			t.Errorf("50 members took %d transactions", len(transactions))
		}
	})
}

// committed counts the rows that readers see now. Every transaction of the test adds
// some, so members that see the same number share a transaction.
func committed(ctx context.Context, db *database.DB) (rows int, err error) {
	err = db.Read(ctx, func(tx database.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM counters").Scan(&rows)
	})
	return rows, err
}

func TestGroupContexts(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		db := openCounters(t, address)
		ended, end := context.WithCancel(t.Context())
		end()
		err := db.Group(ended, func(tx database.Tx) error { return set(t.Context(), tx, "ended", 1) })
		if !errors.Is(err, context.Canceled) || value(t, db, "ended") != -1 {
			t.Errorf("a member that came too late: %v, %d", err, value(t, db, "ended"))
		}
		// A member that has begun is not interrupted, and so interrupts no other.
		ctx, cancel := context.WithCancel(t.Context())
		err = db.Group(ctx, func(tx database.Tx) error {
			cancel()
			return set(ctx, tx, "begun", 1)
		})
		if err != nil || value(t, db, "begun") != 1 {
			t.Errorf("a member that had begun: %v, %d", err, value(t, db, "begun"))
		}
	})
}

func TestClosed(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		db, err := database.Open(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		nothing := func(database.Tx) error { return nil }
		for name, err := range map[string]error{
			"Group": db.Group(t.Context(), nothing), "Write": db.Write(t.Context(), nothing), "Read": db.Read(t.Context(), nothing),
		} {
			if !errors.Is(err, database.ErrClosed) {
				t.Errorf("%s of a closed database: %v", name, err)
			}
		}
	})
}

// A connection that is lost before COMMIT costs only time.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	onPostgres(t, func(t *testing.T, db *database.DB) {
		runs := 0
		err := db.Write(t.Context(), func(tx database.Tx) error {
			runs++
			if err := set(t.Context(), tx, "a", runs); err != nil {
				return err
			}
			if runs == 1 {
				var pid int
				if err := tx.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
					return err
				}
				terminate(t, db, pid)
			}
			_, err := tx.ExecContext(t.Context(), "SELECT 1")
			return err
		})
		if err != nil || runs != 2 || value(t, db, "a") != 2 {
			t.Errorf("%d runs, value %d: %v", runs, value(t, db, "a"), err)
		}
	})
}

// One that is lost at COMMIT may have committed: the error says so, and fn is not retried.
func TestLostConnectionAtCommit(t *testing.T) {
	t.Parallel()
	onPostgres(t, func(t *testing.T, db *database.DB) {
		runs := 0
		err := db.Write(t.Context(), func(tx database.Tx) error {
			runs++
			var pid int
			if err := tx.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
				return err
			}
			if err := set(t.Context(), tx, "a", runs); err != nil {
				return err
			}
			terminate(t, db, pid)
			return nil
		})
		if !errors.Is(err, database.ErrUnknownOutcome) || runs != 1 {
			t.Errorf("%d runs: %v", runs, err)
		}
		if err != nil && strings.Contains(err.Error(), "not-secret") {
			t.Errorf("the password is in %v", err)
		}
	})
}
