using System.CommandLine;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary>What all commands on a tomb share: where it is, its password, and opening it for the length of the command.</summary>
internal sealed class TombSession : IAsyncDisposable
{
    private TombSession(ParseResult parsed, IBackend backend, TombSettings settings) => (Backend, Settings, Speaker) = (backend, settings, new Speaker(parsed.GetValue(Json)));

    public static Option<string?> Tomb { get; } = Shared<string?>("--tomb", "Where the tomb is: a directory, sftp:USER@HOST:/PATH, rest:http(s)://HOST/PATH, s3:http(s)://HOST/BUCKET/PATH, or @NAME for a table of the settings file", "URL");

    public static Option<string?> PasswordFile { get; } = Shared<string?>("--password-file", "A file whose first line is the password; without it, the terminal is asked", "FILE");

    public static Option<int?> PasswordDescriptor { get; } = Shared<int?>("--password-fd", "An open descriptor whose first line is the password", "N");

    public static Option<string?> TokenFile { get; } = Shared<string?>("--fido2", "A file of sbox tomb key add --new-fido2: the FIDO2 token that made it opens the tomb, when it is touched", "FILE");

    public static Option<string?> TokenDevice { get; } = Shared<string?>("--fido2-device", "The FIDO2 token's device, where several are plugged in", "/dev/hidrawN");

    public static Option<string?> TokenPinFile { get; } = Shared<string?>("--fido2-pin-file", "A file whose first line is the FIDO2 token's PIN; without it, the terminal is asked where the token wants one", "FILE");

    public static Option<string?> ConfigFile { get; } = Shared<string?>("--config", "The settings file (~/.config/sbox/tomb.toml, else /etc/sbox/tomb.toml)", "FILE");

    public static Option<bool> Json { get; } = Shared<bool>("--json", "Answer with one JSON object a line", null);

    /// <summary>Options that belong to <c>sbox tomb</c>, before the command's name or after it.</summary>
    public static IReadOnlyList<Option> Options { get; } = [Tomb, PasswordFile, PasswordDescriptor, TokenFile, TokenDevice, TokenPinFile, ConfigFile, Json];

    public IBackend Backend { get; }

    public TombSettings Settings { get; }

    public Speaker Speaker { get; }

    public TombRepository Repository { get; private set; } = null!;

    /// <summary>Where this machine remembers what it has seen: the user's state directory.</summary>
    public static TombMemory Memory => new(Path.Combine(Home("XDG_STATE_HOME", ".local/state"), "sbox", "tombs"), TimeProvider.System);

    /// <summary>The place and the settings, without opening the tomb.</summary>
    public static TombSession At(ParseResult parsed)
    {
        ThisProcess.ForbidDumps();
        return At(parsed, parsed.GetValue(Tomb));
    }

    /// <summary>The same for another place than <c>--tomb</c> names.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="wanted">A URL, or <c>@NAME</c> for a table of the settings file; null for what the settings file says.</param>
    public static TombSession At(ParseResult parsed, string? wanted)
    {
        TombSettings settings = ReadSettings(parsed.GetValue(ConfigFile), wanted is ['@', .. var name] ? name : null);
        string url = (wanted is ['@', ..] ? null : wanted) ?? settings.Tomb
            ?? throw new Finding("no tomb is named", "Name one with --tomb URL, or with tomb = \"URL\" in ~/.config/sbox/tomb.toml");
        settings = settings with { Backend = settings.Backend with { CacheDirectory = settings.Backend.CacheDirectory ?? Path.Combine(Home("XDG_CACHE_HOME", ".cache"), "sbox", "tombs") } };
        try
        {
            return new TombSession(parsed, TombUrl.Parse(url).Open(settings.Backend, TimeProvider.System), settings);
        }
        catch (FormatException wrong)
        {
            throw new Finding(wrong.Message, "docs/tomb.md tells how each kind of place is written");
        }
    }

    /// <summary>Opens the tomb and looks whether it was rolled back.</summary>
    public static Task<TombSession> Open(ParseResult parsed, CancellationToken cancel) => Open(parsed, null, cancel);

    /// <summary>The same with a password that is known, and wiped when this returns.</summary>
    public static async Task<TombSession> Open(ParseResult parsed, SecretMemory? known, CancellationToken cancel)
    {
        TombSession session = At(parsed);
        try
        {
            using SecretMemory password = known ?? session.Password(parsed, "Password of the tomb: ", twice: false);
            session.Repository = await TombRepository.Open(session.Backend, password, cancel);
            return session;
        }
        catch
        {
            await session.DisposeAsync();
            throw;
        }
    }

    /// <summary>Makes a new tomb.</summary>
    public static async Task<TombSession> Create(ParseResult parsed, CancellationToken cancel)
    {
        TombSession session = At(parsed);
        try
        {
            using SecretMemory password = session.Password(parsed, "Password of the new tomb: ", twice: true);
            session.Repository = await TombRepository.Create(session.Backend, password, TimeProvider.System, cancel);
            return session;
        }
        catch
        {
            await session.DisposeAsync();
            throw;
        }
    }

    /// <summary>The snapshots, compared with what this machine remembers.</summary>
    public async Task<IReadOnlyList<Snapshot>> Snapshots(CancellationToken cancel)
    {
        IReadOnlyList<Snapshot> snapshots = await Repository.Snapshots(cancel);
        Memory.Check(Repository, snapshots);
        return snapshots;
    }

    /// <summary>The snapshots that can be read, compared with what this machine remembers; the others are named on stderr. For what only looks or adds.</summary>
    /// <param name="wantsNewest">Whether an older one would be taken for the newest.</param>
    /// <param name="cancel">Ends it.</param>
    public async Task<SnapshotListing> Readable(bool wantsNewest, CancellationToken cancel)
    {
        SnapshotListing listing = await Repository.ReadableSnapshots(cancel);
        foreach (DamagedFile each in listing.Damaged)
            Speaker.Complain($"damaged: {Backend.Location}: {each.File.Path}: {each.What}");
        Memory.Check(Repository, listing, wantsNewest);
        return listing;
    }

    /// <summary>The snapshot that a person means. Where damaged ones may be newer than the latest that can be read, that is said.</summary>
    /// <returns>It, and whether it is surely the one that was meant.</returns>
    public async Task<(Snapshot Snapshot, bool IsSure)> Choose(string wanted, CancellationToken cancel)
    {
        return Choose(await Readable(wanted == SnapshotChoice.Latest, cancel), wanted);
    }

    /// <summary>The same out of a listing.</summary>
    public (Snapshot Snapshot, bool IsSure) Choose(SnapshotListing listing, string wanted)
    {
        bool newest = wanted == SnapshotChoice.Latest;
        Snapshot found = SnapshotChoice.Find(Repository, listing.Snapshots, wanted);
        DamagedFile[] newer = newest ? [.. listing.Damaged.Where(each => !Memory.IsNoNewer(Repository, each.Id, found))] : [];
        if (newest && listing.Damaged.Count > 0)
            Speaker.Complain($"latest is {found.Id.ToString()[..8]}, the newest that can be read{(newer.Length > 0 ? $"; what is damaged may be newer: {string.Join(' ', newer.Select(static each => each.Id.ToString()[..8]))}" : "")}");
        return (found, newer.Length == 0);
    }

    /// <summary>The password: from a file, a descriptor, a FIDO2 token, the settings' file or token, or the terminal, in this order.</summary>
    public SecretMemory Password(ParseResult parsed, string question, bool twice) =>
        parsed.GetValue(PasswordFile) is { } file ? Checked(SecretFile.FirstLine(file), file)
        : parsed.GetValue(PasswordDescriptor) is { } descriptor ? Checked(SecretFile.FirstLine(descriptor), $"descriptor {descriptor}")
        : parsed.GetValue(TokenFile) is { } token ? TokenPassword.Of(parsed, Speaker).Of(token)
        : Settings.PasswordFile is { } configured ? Checked(SecretFile.FirstLine(configured), configured)
        : Settings.TokenFile is { } usual ? TokenPassword.Of(parsed, Speaker).Of(usual)
        : SecretPrompt.Ask(question, twice);

    public async ValueTask DisposeAsync()
    {
        if (Repository is not null)
            await Repository.DisposeAsync();
        await Backend.DisposeAsync();
    }

    internal static SecretMemory Checked(SecretMemory password, string where) => password.Span.Length > 0
        ? password
        : throw new Finding($"{where}: the password is empty", "A tomb is not kept without one");

    private static TombSettings ReadSettings(string? named, string? name)
    {
        string? path = named ?? new[] { Path.Combine(Home("XDG_CONFIG_HOME", ".config"), "sbox", "tomb.toml"), "/etc/sbox/tomb.toml" }.FirstOrDefault(File.Exists);
        return path is not null ? TombSettings.Read(path, name)
            : name is null ? new TombSettings()
            : throw new Finding($"@{name}: there is no settings file", "Write ~/.config/sbox/tomb.toml; docs/tomb.md has an example");
    }

    private static string Home(string variable, string otherwise) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } told ? told : Path.Combine(Environment.GetEnvironmentVariable("HOME") ?? "/root", otherwise);

    private static Option<T> Shared<T>(string name, string description, string? help)
    {
        var option = new Option<T>(name) { Description = description, Recursive = true };
        if (help is not null)
            option.HelpName = help;
        return option;
    }
}

/// <summary>Asks the terminal for a secret, which goes straight into secret memory.</summary>
internal static class SecretPrompt
{
    /// <param name="question">What is asked.</param>
    /// <param name="twice">Whether it is asked once more.</param>
    /// <param name="again">How.</param>
    /// <param name="command">What is no secret but something to do, and is not asked twice; null for nothing.</param>
    public static SecretMemory Ask(string question, bool twice, string again = "Once more: ", string? command = null)
    {
        if (Console.IsInputRedirected)
            throw new Finding("there is no terminal to ask for the password", "Name a file with it: --password-file FILE");
        SecretMemory first = One(question);
        if (!twice || (command is not null && first.Span.SequenceEqual(System.Text.Encoding.UTF8.GetBytes(command))))
            return TombSession.Checked(first, "the terminal");
        using SecretMemory second = One(again);
        if (!System.Security.Cryptography.CryptographicOperations.FixedTimeEquals(first.Span, second.Span))
        {
            first.Dispose();
            throw new Finding("the two passwords differ", "Type the same command again; nothing was written");
        }

        return TombSession.Checked(first, "the terminal");
    }

    private static SecretMemory One(string question)
    {
        Console.Error.Write(question);
        using var typed = new SecretMemory(4096);
        int length = 0;
        Span<byte> utf8 = stackalloc byte[4];
        char high = '\0';
        while (Console.ReadKey(intercept: true) is { Key: not ConsoleKey.Enter } key)
        {
            if (key.Key == ConsoleKey.Backspace)
            {
                do
                    length = Math.Max(0, length - 1);
                while (length > 0 && (typed.Span[length] & 0xC0) == 0x80);
            }
            else if (char.IsHighSurrogate(key.KeyChar))
            {
                high = key.KeyChar;
            }
            else if (key.KeyChar != '\0' && length < 4000)
            {
                System.Text.Rune rune = char.IsLowSurrogate(key.KeyChar) ? new System.Text.Rune(high, key.KeyChar) : new System.Text.Rune(key.KeyChar);
                int used = rune.EncodeToUtf8(utf8);
                utf8[..used].CopyTo(typed.Span[length..]);
                length += used;
            }
        }

        utf8.Clear();
        Console.Error.WriteLine();
        return new SecretMemory(typed.Span[..length]);
    }
}
