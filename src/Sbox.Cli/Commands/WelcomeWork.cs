using System.Text;
using System.Text.Json;
using Sbox.Boot;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>What the questions of a new box look at and do.</summary>
internal interface IWelcomeWork
{
    /// <summary>What becomes of the answers on this boot, for people.</summary>
    string Kind { get; }

    /// <summary>The layouts of this tree; empty where it has no list.</summary>
    IReadOnlyList<KeyboardLayout> Layouts { get; }

    /// <summary>By what the machine is connected; null where it has no way out.</summary>
    (string Card, string Address)? Connection { get; }

    /// <summary>Whether it has a wireless card.</summary>
    bool HasWireless { get; }

    /// <summary>Whether something here speaks to wireless cards.</summary>
    bool HasNetworkManager { get; }

    /// <summary>Whether a user or group has the name.</summary>
    bool IsTaken(string name);

    /// <summary>The wireless networks within reach.</summary>
    /// <exception cref="ChildFailedException">NetworkManager gave no list.</exception>
    IReadOnlyList<WirelessNetwork> Scan();

    /// <inheritdoc cref="WelcomeWork.Use"/>
    void Use(KeyboardLayout layout);

    /// <inheritdoc cref="WelcomeWork.Connect"/>
    void Connect(string name, ReadOnlySpan<byte> password);

    /// <inheritdoc cref="WelcomeWork.Tomb"/>
    Task Tomb(string address, bool isNew, SecretMemory password);

    /// <inheritdoc cref="WelcomeWork.MakeUser"/>
    void MakeUser(string name, string fullName, bool sudo, string? address, Action<Stream> secret, bool isHash);
}

/// <summary>What the answers of a new box's owner have done, one after the other.</summary>
internal sealed class WelcomeWork(CancellationToken cancel) : IWelcomeWork
{
    private static readonly TimeSpan NetworkLimit = TimeSpan.FromMinutes(1);
    private static readonly string[] Groups = ["sudo", "netdev", "bluetooth", "lpadmin", "plugdev"];
    private string? keyboard, network, user, tomb;

    /// <summary>As a person reads it.</summary>
    public string Summary => (user, tomb, keyboard, network) switch
    {
        (null, _, null, null) => "Nothing was to be done",
        (null, _, _, _) => "Done; no user was made",
        (_, null, _, _) => $"{user} can log in now",
        _ => $"{user} can log in now, and the home is the tomb at {tomb}",
    };

    /// <summary>As programs read it.</summary>
    public void Write(Utf8JsonWriter json)
    {
        json.WriteString("keyboard", keyboard);
        json.WriteString("network", network);
        json.WriteString("user", user);
        json.WriteString("tomb", tomb);
    }

    /// <inheritdoc/>
    public string Kind => RootConfig.IsGhost(KernelArguments.Parse(File.ReadAllText("/proc/cmdline")))
        ? "This boot is a ghost: what you answer is forgotten when it is switched off." : "What you answer stays on this disk.";

    /// <inheritdoc/>
    public IReadOnlyList<KeyboardLayout> Layouts => File.Exists(KeyboardLayout.List) ? KeyboardLayout.Parse(File.ReadAllText(KeyboardLayout.List)) : [];

    /// <inheritdoc/>
    public (string Card, string Address)? Connection => NetworkLook.Connection();

    /// <inheritdoc/>
    public bool HasWireless => NetworkLook.HasWireless();

    /// <inheritdoc/>
    public bool HasNetworkManager => File.Exists("/usr/bin/nmcli");

    /// <inheritdoc/>
    public bool IsTaken(string name) => UserName.IsTaken("/etc", name);

    /// <inheritdoc/>
    public IReadOnlyList<WirelessNetwork> Scan() => NetworkLook.Scan(cancel);

    /// <summary>Does all that a file of answers says. What needs nothing else comes first; the user comes when the tomb is known to be there.</summary>
    /// <exception cref="Finding">A step failed; those before it are done.</exception>
    public async Task Do(WelcomeAnswers answers)
    {
        if (answers.Keyboard is { } layout)
            Use(KeyboardLayout.Find(Layouts, layout) is [var found] ? found : throw new Finding($"'{layout}' is no keyboard layout of this tree", $"Codes are in {KeyboardLayout.List}, of the package xkb-data"));
        if (answers.Wifi is { } wifi)
            Connect(wifi, answers.WifiPassword is { } key ? key.Span : []);
        if (answers.User is not { } name)
            return;
        if (UserName.IsTaken("/etc", name))
            throw new Finding($"there is a user or group '{name}' already", "Choose another login name");
        SecretMemory? password = answers.Password;
        if (answers.Tomb is { } address && password is not null)
        {
            // At a first boot a card may still be waiting for its address. A tomb on this machine needs none; one that cannot be reached then says so itself.
            if (!address.StartsWith('/'))
                await NetworkLook.WaitForConnection(NetworkLimit, cancel: cancel);
            await Tomb(address, answers.TombIsNew, password);
        }

        MakeUser(name, answers.FullName, answers.Sudo, answers.Tomb, stream =>
        {
            stream.Write(Encoding.UTF8.GetBytes($"{name}:"));
            stream.Write(password is { } secret ? secret.Span : Encoding.UTF8.GetBytes(answers.PasswordHash!));
            stream.Write("\n"u8);
        }, isHash: password is null);
    }

    /// <summary>Makes a layout the machine's, and the console's where the tree can.</summary>
    public void Use(KeyboardLayout layout)
    {
        using Dir etc = Dir.Open("/etc");
        layout.Write(etc);
        keyboard = layout.Code;
        if (File.Exists("/usr/bin/setupcon"))
            ChildProcess.Run(new ChildCommand("setupcon", ["--keyboard-only", "--force"]), cancel: cancel);
    }

    /// <summary>Connects to a wireless network.</summary>
    /// <exception cref="Finding">It did not come to a connection.</exception>
    public void Connect(string name, ReadOnlySpan<byte> password)
    {
        try
        {
            using Dir connections = Dir.Open("/etc/NetworkManager/system-connections");
            NetworkLook.Connect(NetworkLook.WriteConnection(connections, name, password), cancel);
            network = name;
        }
        catch (Exception failure) when (failure is IOException or ArgumentException)
        {
            throw new Finding($"{name}: {failure.Message}", "Another password, or another network; nmcli device wifi list shows those within reach");
        }
    }

    /// <summary>Makes a tomb, or sees whether a password opens the one that is there.</summary>
    /// <exception cref="Finding">It cannot be made, or not be opened; in the words of sbox tomb.</exception>
    public async Task Tomb(string address, bool isNew, SecretMemory password)
    {
        string[] command = isNew ? ["create"] : ["snapshots", "--json"];
        var line = new List<string>();
        ChildResult result = await Task.Run(() => ChildProcess.Run(new ChildCommand(Environment.ProcessPath ?? "/usr/bin/sbox", ["tomb", "--tomb", address, "--password-fd", "0", .. command])
        {
            WriteInput = stream =>
            {
                stream.Write(password.Span);
                stream.Write("\n"u8);
            },
        }, line.Add, cancel), cancel);
        if (result.ExitCode != 0)
        {
            string said = line.FirstOrDefault(static each => each.StartsWith("sbox: ", StringComparison.Ordinal))?["sbox: ".Length..] ?? string.Join(' ', result.LastLines.TakeLast(1));
            throw new Finding($"{address}: {said}", isNew ? "Is it there already? Then it is opened, not made" : "Another address, or another password");
        }
    }

    /// <summary>Makes the user, with a home, a password and, where there is one, the line by which the tomb opens at login.</summary>
    /// <param name="name">The login name, which nobody has.</param>
    /// <param name="fullName">What the user is called; may be empty.</param>
    /// <param name="sudo">Whether the user may become root.</param>
    /// <param name="address">Where the user's tomb is; null for none.</param>
    /// <param name="secret">Writes <c>name:password</c> for chpasswd(8).</param>
    /// <param name="isHash">Whether that is a hash.</param>
    /// <exception cref="Finding">It could not be made; then there is none.</exception>
    public void MakeUser(string name, string fullName, bool sudo, string? address, Action<Stream> secret, bool isHash)
    {
        string[] groups = [.. Groups.Where(group => (sudo || group != "sudo") && UserName.IsTaken("/etc", group))];
        try
        {
            ChildProcess.Check(new ChildCommand("useradd", ["--create-home", "--shell", "/bin/bash", "--comment", fullName, .. groups.Length > 0 ? ["--groups", string.Join(',', groups)] : Array.Empty<string>(), name]), cancel: cancel);
            try
            {
                ChildProcess.Check(new ChildCommand("chpasswd", isHash ? ["--encrypted"] : []) { WriteInput = secret }, cancel: cancel);
            }
            catch
            {
                ChildProcess.Run(new ChildCommand("userdel", ["--remove", name]), cancel: CancellationToken.None); // somebody without a password is nobody
                throw;
            }
        }
        catch (ChildFailedException failure)
        {
            throw new Finding(failure.Message, $"What it says: {string.Join("; ", failure.LastLines)}");
        }

        user = name;
        if (address is null)
            return;
        using Dir etc = Dir.Open("/etc");
        TombTable.Add(etc, name, address);
        tomb = address;
    }
}
