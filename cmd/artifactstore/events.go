package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) eventsCommand() *cobra.Command {
	var after uint64
	var follow bool
	command := &cobra.Command{
		Use:   "events",
		Short: "Print the event log, one event per line",
		Args:  cobra.NoArgs,
		RunE:  a.verb(func(ctx context.Context, _ []string) error { return a.events(ctx, after, follow) }),
	}
	flags := command.Flags()
	flags.Uint64Var(&after, "after", 0, "only events after this position")
	flags.BoolVar(&follow, "follow", false, "keep printing new events until interrupted")
	return command
}

func (a *app) events(ctx context.Context, after uint64, follow bool) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	if follow {
		err := client.FollowEvents(ctx, after, a.printEvent)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // an interrupt is the normal end of --follow
		}
		return err
	}
	for {
		page, err := client.ReadEvents(ctx, after, registry.MaxEventPage)
		if err != nil {
			return err
		}
		for _, event := range page.Events {
			if err := a.printEvent(event); err != nil {
				return err
			}
			after = event.Position
		}
		// Stop at the head as of this page: a growing log has no other end.
		if len(page.Events) == 0 || after >= page.Head {
			return nil
		}
	}
}

// printEvent uses fixed widths: a stream has no last row to align with.
func (a *app) printEvent(e registry.Event) error {
	return a.printStream(e, func() string {
		return fmt.Sprintf("%-8d %s  %-30s %-16s %s", e.Position, e.Time.UTC().Format(time.RFC3339), shown(e.Kind), dash(shown(e.Actor)), shown(e.Subject))
	})
}
