package main

import "github.com/spf13/cobra"

func (a *app) storageCommand() *cobra.Command {
	command := &cobra.Command{Use: "storage", Short: "Probe, verify and clean up backends"}
	group(command)
	command.AddCommand(a.storageVerifyCommand(), a.storageSweepCommand(), a.storageProbeCommand())
	return command
}
