using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Delivery;
using Sbox.Image;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;
using Sbox.Tomb;

namespace Sbox.Cli;

/// <summary>
/// The way out of each failure. A library's exception carries the facts; only the program knows what may be typed.
/// </summary>
internal static class Remedies
{
    /// <summary>Whether a failure is one of those a person can be told about; anything else is a defect and keeps its stack trace.</summary>
    public static bool Explains(Exception failure) =>
        failure is IOException or MalformedException or UnauthorizedAccessException or HttpRequestException or Finding or NotSupportedException
        || failure.GetType().Namespace is { } home && home.StartsWith("Sbox.", StringComparison.Ordinal);

    /// <summary>Says what failed and, for sbox, what to do about it.</summary>
    public static void Say(Exception failure, bool ostree, bool json)
    {
        if (Environment.GetEnvironmentVariable("SBOX_TRACE") is not null)
            Console.Error.WriteLine(failure);
        if (ostree)
        {
            Console.Error.WriteLine(PlainText.ForError($"error: {InTheirWords(failure)}"));
            return;
        }

        string? way = For(failure) ?? SystemWords.WayOut(failure);
        if (json)
        {
            SayJson(SystemWords.Of(failure), failure.GetType().Name, way);
            return;
        }

        Console.Error.WriteLine(PlainText.ForError($"sbox: {SystemWords.Of(failure)}"));
        if (way is not null)
            Console.Error.WriteLine(PlainText.ForError($"  {way}"));
    }

    /// <summary>An error as one JSON object on stderr.</summary>
    public static void SayJson(string error, string kind, string? way) => Console.Error.WriteLine(Speaker.JsonLine(writer =>
    {
        writer.WriteString("error", error);
        writer.WriteString("kind", kind);
        if (way is not null)
            writer.WriteString("remedy", way);
    }));

    // What libostree says, where scripts are known to look for it.
    private static string InTheirWords(Exception failure) => failure switch
    {
        RefNotFoundException { Orphan: { } first } => $"Commit {first} has no parent",
        RefNotFoundException missing => $"Refspec '{missing.Revision}' not found",
        InvalidRefException { Finding: "Cannot create alias to remote ref" } alias => alias.Finding,
        InvalidRefException invalid => $"Invalid ref name {invalid.RefName}: {invalid.Finding}",
        ObjectMissingException missing => missing.Name.Type == ObjectType.File ? $"Couldn't find file object '{missing.Name.Checksum}'" : $"No such metadata object {missing.Name}",
        PullException { Words: { } words } => words,
        PullException { InnerException: ObjectCorruptException { Found: not null } corrupt } => InTheirWords(corrupt),
        ObjectCorruptException { Found: { } found } corrupt =>
            $"Corrupted {(corrupt.Expected.Type == ObjectType.File ? "file" : corrupt.Expected.Type.ToString().ToLowerInvariant())} object; checksum expected='{corrupt.Expected.Checksum}' actual='{found}': {corrupt.Path}",
        RemoteNotFoundException missing => $"Remote \"{missing.Remote}\" not found",
        RemotesException { InnerException: null } remotes => remotes.Finding,
        _ => failure.Message,
    };

    private static string OfSsh(SshRefusedException ssh) => ssh.Refusal switch
    {
        SshRefusal.UnknownHostKey => $"Once by hand, as the user that this runs as: ssh {ssh.Host}; it shows the key's fingerprint, which whoever keeps the host can confirm. The same command works then",
        SshRefusal.ChangedHostKey => $"Another machine may be answering in its place: ask whoever keeps the host. Where its key was made anew: ssh-keygen -R {HostOf(ssh.Host)}, then once by hand ssh {ssh.Host}",
        SshRefusal.PermissionDenied => $"ssh {ssh.Host} has to work by itself, as the user that this runs as: its key, its agent, ~/.ssh/config. Other words for ssh: ssh-command in the settings file",
        SshRefusal.NoSuchHost => "Look at --tomb again, and whether this machine is in the network where that name is known",
        _ => "apt install openssh-client; or ssh-command in the settings file names another program",
    };

    // As known_hosts has it: [HOST]:PORT where ssh was told of a port.
    private static string HostOf(string host) => host[(host.LastIndexOfAny(['@', ' ']) + 1)..] is var name && host.Split(' ') is ["-p", var port, ..] ? $"'[{name}]:{port}'" : name;

    private static string? For(Exception failure) => failure switch
    {
        Finding finding => finding.WayOut,
        BuildFailedException { LastLines.Count: > 0 } failed =>
            $"Nothing was committed. The last lines of {failed.Tool}:\n{string.Join('\n', failed.LastLines.Select(static line => $"    {line}"))}",
        BuildFailedException => "Nothing was committed",
        NotEncryptableException => "Nothing was made. encrypted-root = true in the recipe's [initrd], with cryptsetup-bin, systemd-cryptsetup and the tss libraries among its packages; then sbox build, and sbox seal with keys that have a pcr key",
        RecipeException => "docs/recipe.md and sbox-recipe(5) tell what a recipe may hold",
        Sbox.Integrity.PolicyException => "docs/sentinel.md and sbox-sentinel.d(5) tell what a policy may hold",
        AutoSettingsException => "Nothing happens by itself until that can be read: sbox-auto(1) tells what the settings may be",
        RepairChangedException => "Nothing was changed. Another may have changed the box meanwhile: look again with sbox doctor",
        GhostSettingsException => "sbox-ghost(1) and sbox-keep(1) tell what the files may say; nothing is kept by itself until all of them can be read",
        TombShelfException => "Nothing was put there or taken from there. Rename what is there: then sbox keep --tomb makes its own",
        NoSuchProfileException => "Nothing was changed. The versions that sbox upgrade brings have it",
        TargetDiskException => "Nothing was written there. The disks that there are: lsblk; name a whole one that nothing uses",
        DiskImageException => "Nothing was written. sbox image makes one; sbox install without --image copies the running box",
        NotClonedException => "sbox stick makes another without its state, which encrypts itself at its first boot; what is yours comes along in a tomb (sbox-tomb(1))",
        ChangedWhileClonedException => "Type the same command again when the upgrade has ended: the copy does not boot, and was not finished",
        CloneDamagedException => "That disk is failing, or is smaller than it says: take another. It does not boot as it is",
        RootGrowthException => "Nothing was changed, and the box is as it was: sbox-disk-grow(1) tells what grows",
        Sbox.Boot.NoDiskException => "Reboot with the medium in, choose 'normal' or 'ghost' in the boot menu, and type the command there",
        SysrootDamagedException => "sbox doctor tells what is wrong with the box, and mends what can be mended",
        NoSoftRebootException { KernelDiffers: true } => "What is deployed stays so, and runs after a reboot of the machine: sbox upgrade --reboot, or reboot",
        NoSoftRebootException => "What is deployed stays so; where it does not run yet, it does after a reboot of the machine",
        EtcPathException => "What is changed below /etc: sbox etc diff. What merges decided: sbox etc resolve",
        NotARepositoryException => "Name one with --repo=PATH, or make one: sbox store init --repo=PATH",
        CompressedOtherwiseException => "Nothing was added. The usual delta, in the same directory (name that directory), needs nothing compressed; a pull fetches such files by themselves",
        RemotesException { Path: var file } when file.EndsWith(".conf", StringComparison.Ordinal) => "Mend that file, or take it away: it is a key file with a group [remote \"NAME\"] for each remote",
        RemotesException => "A remote's name is letters, digits, '_', and after the first '-' and '.'",
        RemoteNotFoundException => "The remotes that there are: sbox store remote list",
        RefNotFoundException => "The refs that there are: sbox store refs",
        ObjectMissingException or ObjectCorruptException => "Nothing was changed. What else is wrong there: sbox store fsck --all; pulling again brings good copies of what fsck --delete removes",
        NamesDamagedException => "Nothing that is needed was deleted. That disk, or the memory of this machine, gives back what it was not given: look at both (dmesg), then run the same command again",
        DiskBusyException => "The disk's keys are as the other one leaves them: try again when it is done. sbox disk status shows them",
        DiskKeyMissingException => "With a key of the disk that you know: cryptsetup luksAddKey DEVICE, to which that file gets the new key of 64 hexadecimal digits; then sbox disk bind",
        DiskNotOpenedException { CanAsk: true } => "Nothing was deployed, and what boots next is as it was. Seal the version with the pcr key that this disk is bound to (sbox seal, where the branch is published). --force takes it all the same: have the recovery key at hand (sbox disk recovery-key)",
        DiskNotOpenedException => "Nothing was deployed, and what boots next is as it was. Build the version with encrypted-root = true in the recipe's [initrd] (sbox-recipe(5)). --force takes it all the same: it stops in its initrd, and the boot menu has the versions that do come up",
        UnsealedCommitException => "Ask whoever publishes the branch to run sbox seal there. To deploy it all the same: sbox upgrade --unsealed",
        UnapprovedCommitException => "Nothing was deployed. Ask the missing signers to sign it where the branch is published. To take it all the same: sbox upgrade --unapproved",
        ApprovalPolicyException revoked when revoked.File.StartsWith("etc/", StringComparison.Ordinal) =>
            $"Nothing is approved until /{revoked.File} can be read: a regular file, one key in base64 a line, notes on lines of their own that begin with #",
        ApprovalPolicyException => "sbox-approval.toml(5) tells what a policy may hold. It is part of the tree that runs: a new version mends it, and sbox upgrade --unapproved brings one",
        SealBrokenException => "Nothing leads to this deployment. It was signed for another machine's owner, or its files are not those that were signed: ask who publishes the branch",
        Sbox.Image.TokenException => "Is the token there, is the key's name right (pkcs11-tool --list-objects), and is OpenSSL's pkcs11 provider or engine installed? Nothing was changed",
        Sbox.Tomb.Sessions.SessionRefusedException { Users.Count: > 0 } or Sbox.Tomb.Sessions.TombInUseException =>
            "Nothing was changed. End them and close it again; sbox tomb slam ends them and takes the tomb away at once",
        Sbox.Tomb.Sessions.SessionRefusedException { Kind: nameof(Sbox.Tomb.Sessions.CannotPinException) } => "What is pinned: sbox tomb pin",
        Sbox.Tomb.Sessions.SessionRefusedException => "Nothing is lost: what was not saved stays where it is. sbox tomb status tells more",
        Sbox.Tomb.Sessions.TombNotOpenException => "The tombs that are open: sbox tomb status",
        SignatureException { IsOurs: true } => "Nothing was signed. What can sign: gpg --list-secret-keys (--homedir=DIR, as --gpg-homedir=DIR names one here); a key with a passphrase needs gpg-agent to have it, or a terminal to ask at",
        SignatureException => "Nothing was taken over. Which keys are believed: sbox store remote gpg-list-keys, and the remote's settings in the repository's config",
        TrustException trust => For(trust),
        TrustHistoryException => "sbox trust show DIR tells who has to sign; sbox trust create DIR begins with the first document",
        SummaryAheadException => "Nothing was sent. Is this machine's clock right? timedatectl shows it. Where it is, the other's was wrong, and no box whose clock is right has taken that: --older-summary publishes over it",
        OtherPublicationException => "Nothing was sent. Name another place with --to; where what is there may go, delete its summary, summary.sig and trust first",
        MirrorOutdatedException => "Nothing was sent. Bring the mirror up to date first, with its trust documents: sbox store pull --mirror REMOTE",
        TrustBehindException => "Fetch the newest documents from there into the directory trust of this repository, or name it with --trust=DIR",
        WrongPassphraseException => "Type the same command again; nothing was changed",
        SignatureWantedException => "Give the key: --sign-from-file=FILE, --keys=DIR or --gpg-sign=KEY-ID. To publish without: --unsigned, and readers who ask for signatures take nothing from there any more",
        UnknownBranchesException => "Publish all branches from the repository that has them, or have the place forget the others: --drop-others",
        PlaceBusyException => "Try again when that is done. A lock on a bucket that nobody renews goes away in 10 minutes",
        PlaceUnfitException => "A place is a new or empty directory, or one that was published to: --to=PATH, --to=usb:PATH or --to=s3:https://HOST/BUCKET/PATH",
        NotPublishableException => "No reader finds anything else than before. The branches that there are: sbox store refs; pulling again makes a commit whole",
        PlaceFailedException => "Readers there find what they found before. What was sent is kept: the same command goes on from there",
        PullException { IsOlder: true } => "Nothing was taken. An older version can bring back what newer ones have mended; sbox upgrade --allow-downgrade (sbox switch too), or sbox store pull --allow-older, takes it all the same",
        PullException => "What came so far is kept, and the same command goes on from there",
        NotEnoughSpaceException { IsPlanned: true } full => $"None of its files was fetched. {Room(full)}",
        NotEnoughSpaceException => "sbox store prune frees what nothing needs",
        RepositoryBusyException => "Another program works there; try again when it is done",
        Fido2Exception { IsAnotherToken: true } => "Plug in the token that belongs to this file, or open the tomb with a password",
        Fido2Exception { IsAboutPin: true } => "A token counts wrong PINs, and locks itself after a few: fido2-token -I DEVICE (of fido2-tools) tells how many are left. A password opens the tomb too",
        Fido2Exception => "Is it a FIDO2 token with hmac-secret, was it touched in time, and may this user open it? A password opens the tomb too",
        NotATombException => "Look at --tomb again; to make a new tomb there: sbox tomb --tomb URL create",
        TombExistsException => "Nothing was changed. Its snapshots: sbox tomb --tomb URL snapshots",
        WrongPasswordException => "Nothing was changed. Another password may open it: its keys are listed by sbox tomb key list, for whoever knows one",
        TombLockedException { Holder.Exclusive: true } => "Try again when it is done. A lock that nobody renews goes away when this machine has seen it so for 7 minutes (30 when it is young); when you know that nobody is at work: sbox tomb unlock --all",
        TombLockedException => "Someone saves or restores; try again when it is done. When you know that nobody is at work: sbox tomb unlock --all",
        TombLockLostException => "What was saved earlier is whole. The same command again does what is missing",
        RolledBackException { Damage: not null } => "Name an older one by its id (sbox tomb snapshots). sbox tomb check --repair takes away what cannot be read, and says so; the newest that is left is the latest then",
        RolledBackException => "Ask whoever keeps the tomb. If you know why (a forget on another machine, a copy brought back), delete what this machine remembers: the file in ~/.local/state/sbox/tombs",
        NothingSavedException => "No snapshot was written: one that holds nothing would count as the newest. Name what is there",
        NothingKeptException => "Nothing was deleted. A rule that keeps some of them too: --keep-last 1. Without any of them: sbox tomb forget ID...",
        SnapshotNotFoundException => "The snapshots that there are: sbox tomb snapshots",
        TombDamagedException or BlobMissingException => "What else is damaged: sbox tomb check --read-data. What can be saved: sbox tomb check --repair",
        StoredFileUnreadableException => "Copy the tomb to another disk while that can be read. What can be saved: sbox tomb check --repair",
        StoredFileMissingException => "What else is missing: sbox tomb check. What can be saved: sbox tomb check --repair",
        TombSettingsException => "docs/tomb.md tells what the settings file may hold",
        SshRefusedException ssh => OfSsh(ssh),
        BackendException { IsTransient: true } => "The place does not answer as it should. What was uploaded is kept: the same command goes on from there",
        PlaceFullException => "Nothing that was whole is lost. Make room there (sbox tomb forget --prune drops what is old), and run the same command again",
        BackendException => "Nothing that was whole is lost",
        LinuxException { Errno: Errno.EACCES or Errno.EPERM } => "This needs root: sudo sbox ...",
        LinuxException { Errno: Errno.ENOSPC } => "Nothing that was whole is lost. Free some space there and run the same command again.",
        LinuxException { Errno: Errno.EROFS } => "The file system is read-only. On a box, /usr and / always are; write below /etc, /var or /tmp.",
        _ => null,
    };

    // How much old versions have to themselves is not known from here; what nothing needs is.
    private static string Room(NotEnoughSpaceException full) =>
        full.Prunable switch
        {
            null => "sbox store prune frees what nothing needs; ",
            0 => "Nothing there is without use; ",
            { } bytes => $"sbox store prune frees {Amount.OfBytes(bytes)} that nothing needs{(bytes < full.Needed - full.Available ? ", which is not enough" : "")}; ",
        }
        + "sbox undeploy N removes an old version (sbox status lists them), and core.min-free-space-* in the repository's config says what is to stay free";

    private static string For(TrustException trust) => trust.Problem switch
    {
        TrustProblem.Malformed => "Nothing was taken over. docs/formats/trust-document.md tells what a trust document may hold; one that is kept and damaged is replaced by sbox remote trust NAME FILE",
        TrustProblem.TooFewSigned => "Nothing was taken over, or sent. Who has to sign: sbox remote show NAME; where it is published, sbox trust show DIR. There sbox store sign signs commits, sbox publish --sign-from-file the summary, sbox trust sign the document",
        TrustProblem.OutOfOrder => "Nothing was taken over, and the document of before is still believed. Ask who publishes there",
        TrustProblem.Expired => "Nothing was taken over, and what runs goes on running. Its owners renew it: sbox trust renew, sign, publish",
        TrustProblem.Stale => "Nothing was taken over: whoever serves it may be withholding news. Another mirror (--url), or whoever publishes there (sbox publish renews the summary), helps",
        TrustProblem.RolledBack => "Nothing was taken over: whoever serves it shows an older state. Try another mirror (--url), or ask who publishes there",
        TrustProblem.FromTheFuture => "Nothing was taken over. Is this machine's clock right? timedatectl shows it",
        TrustProblem.Withheld => "Nothing was taken over. Whoever serves it withholds a document, or was being published to: try again in a minute, then another mirror (--url)",
        _ => "Those that were followed are kept: the same command goes on from there",
    };
}

/// <summary>A finding of the program itself: what it found, and what may be typed.</summary>
/// <param name="message">The path and the finding.</param>
/// <param name="wayOut">What to do.</param>
internal sealed class Finding(string message, string wayOut) : Exception(message)
{
    /// <summary>What to do.</summary>
    public string WayOut { get; } = wayOut;
}
