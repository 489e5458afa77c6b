package routing_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/routing"
)

// BenchmarkPlace measures a routing decision among 100 policies of 20 rules.
func BenchmarkPlace(b *testing.B) {
	s, requests := many()
	table := routing.New()
	table.Swap(s)
	for _, req := range requests {
		b.Run(req.Producer, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := table.Place(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("no-rule", func(b *testing.B) {
		s.Rules = s.Rules[:len(s.Rules)-1]
		table.Swap(s)
		b.ReportAllocs()
		for b.Loop() {
			table.Place(placement.Request{Producer: "somebody-whom-no-rule-names", RetentionClass: "short"}) //nolint:errcheck // the error is what is measured
		}
	})
}

// BenchmarkPlaceWhileSwapping decides while another goroutine swaps tables continuously.
func BenchmarkPlaceWhileSwapping(b *testing.B) {
	s, requests := many()
	table := routing.New()
	table.Swap(s)
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.Backends[i%len(s.Backends)].Message = fmt.Sprint(i)
				table.Swap(s)
			}
		}
	})
	for b.Loop() {
		if _, err := table.Place(requests[0]); err != nil {
			b.Fatal(err)
		}
	}
	close(stop)
	running.Wait()
}

// BenchmarkSwap measures a change of one backend, and one of the rules.
func BenchmarkSwap(b *testing.B) {
	s, _ := many()
	table := routing.New()
	b.Run("backend", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			s.Backends[i%500].Ready = i%2 == 0
			table.Swap(s)
		}
	})
	b.Run("rule", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			s.Rules[i%2000].Index++
			table.Swap(s)
		}
	})
}
