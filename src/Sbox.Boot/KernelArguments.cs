using System.Collections;

namespace Sbox.Boot;

/// <summary>A change to kernel arguments that does not fit them: the key is missing, or names several.</summary>
/// <param name="argument">The change as it was asked for.</param>
/// <param name="reason">Why it cannot be made.</param>
public sealed class KernelArgumentException(string argument, string reason) : Exception($"kernel argument '{argument}': {reason}")
{
    /// <summary>The change as it was asked for.</summary>
    public string Argument { get; } = argument;
}

/// <summary>A kernel command line: arguments in their order, keys possibly more than once. Immutable.</summary>
/// <remarks>
/// docs/formats/kernel-command-line.md. Changes follow libostree's OstreeKernelArgs, so that its programs and ours make the same line of the
/// same request. What follows a lone <c>--</c> is meant for init: it is kept, and no question here sees it.
/// </remarks>
public sealed class KernelArguments : IReadOnlyList<KernelArgument>, IEquatable<KernelArguments>
{
    private const string ForInit = "--";
    private readonly KernelArgument[] arguments;

    private KernelArguments(IEnumerable<KernelArgument> arguments) => this.arguments = [.. arguments];

    /// <summary>No argument.</summary>
    public static KernelArguments Empty { get; } = new([]);

    /// <inheritdoc/>
    public int Count => arguments.Length;

    /// <inheritdoc/>
    public KernelArgument this[int index] => arguments[index];

    /// <summary>Reads a command line. Any text is one: a quote without its partner reaches to the end, as the kernel has it.</summary>
    /// <param name="line">As in /proc/cmdline or behind <c>options</c> in a boot entry; a newline at its end is a blank like others.</param>
    public static KernelArguments Parse(string line) => new(Split(line));

    /// <summary>The arguments given one by one, each as written on a command line.</summary>
    public static KernelArguments Of(params IEnumerable<KernelArgument> arguments) => new(arguments);

    /// <summary>The value of the last argument with this key; null where there is none or it has no value.</summary>
    public string? Get(string key) => GetAll(key).LastOrDefault();

    /// <summary>The values of all arguments with this key, in order; an argument without <c>=</c> gives null.</summary>
    public IEnumerable<string?> GetAll(string key) => ForKernel().Where(argument => argument.Key == key).Select(static argument => argument.Value);

    /// <summary>Whether there is an argument with this key.</summary>
    public bool Contains(string key) => ForKernel().Any(argument => argument.Key == key);

    /// <summary>The arguments followed by those of another line.</summary>
    public KernelArguments Append(string line)
    {
        int end = Array.FindIndex(arguments, static argument => argument.Text == ForInit);
        end = end < 0 ? arguments.Length : end;
        return new([.. arguments[..end], .. Split(line), .. arguments[end..]]);
    }

    /// <summary>As <see cref="Append"/>, without those arguments that are here already, key and value.</summary>
    public KernelArguments AppendIfMissing(string line) => Split(line).Aggregate(this, static (all, argument) =>
        all.ForKernel().Contains(argument) ? all : all.Append(argument.Text));

    /// <summary>Sets a key to one value: in the place of its first argument, all others with the key gone; at the end where it was missing. <c>ostree admin deploy --karg</c> does so.</summary>
    public KernelArguments Set(KernelArgument argument)
    {
        KernelArgument[] old = [.. ForKernel()];
        int first = Array.FindIndex(old, each => each.Key == argument.Key);
        if (first < 0)
            return Append(argument.Text);
        var rest = arguments.Where((each, at) => at == first || at >= old.Length || each.Key != argument.Key);
        return new(rest.Select((each, at) => at == first ? argument : each));
    }

    /// <summary>Changes values as <c>rpm-ostree kargs --replace</c> does: <c>key=new</c>, or <c>key=old=new</c> where the key is there several times.</summary>
    /// <exception cref="KernelArgumentException">The key, or the old value, is not here; or the key is here several times.</exception>
    public KernelArguments Replace(string line) => Split(line).Aggregate(this, static (all, change) => all.ReplaceOne(change));

    /// <summary>Removes arguments as <c>rpm-ostree kargs --delete</c> does: <c>key</c>, or <c>key=value</c> where the key is there several times.</summary>
    /// <exception cref="KernelArgumentException">The key, or the value, is not here; or the key alone names several.</exception>
    public KernelArguments Delete(string line) => Split(line).Aggregate(this, static (all, unwanted) => all.DeleteOne(unwanted));

    /// <summary>The line: arguments as written, one blank between them.</summary>
    public override string ToString() => string.Join(' ', arguments);

    /// <inheritdoc/>
    public bool Equals(KernelArguments? other) => other is not null && arguments.AsSpan().SequenceEqual(other.arguments);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as KernelArguments);

    /// <inheritdoc/>
    public override int GetHashCode() => ToString().GetHashCode(StringComparison.Ordinal);

    /// <inheritdoc/>
    public IEnumerator<KernelArgument> GetEnumerator() => arguments.AsEnumerable().GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private IEnumerable<KernelArgument> ForKernel() => arguments.TakeWhile(static argument => argument.Text != ForInit);

    private KernelArguments ReplaceOne(KernelArgument change)
    {
        List<int> places = PlacesOf(change);
        string? value = change.RawValue;
        int middle = value?.IndexOf('=', StringComparison.Ordinal) ?? -1;
        if (middle >= 0)
        {
            string old = value![..middle];
            int place = places.FindIndex(at => arguments[at].RawValue == old);
            return place >= 0
                ? With(places[place], new KernelArgument($"{change.Key}={value[(middle + 1)..]}"))
                : throw new KernelArgumentException(change.Text, $"there is no {change.Key}={old} to replace");
        }

        return places.Count == 1
            ? With(places[0], change)
            : throw new KernelArgumentException(change.Text, $"{change.Key} is there {places.Count} times; say which: {change.Key}=OLD=NEW");
    }

    private KernelArguments DeleteOne(KernelArgument unwanted)
    {
        List<int> places = PlacesOf(unwanted);
        if (places.Count == 1 && unwanted.RawValue is null)
            return Without(places[0]);
        int place = places.FindIndex(at => arguments[at].RawValue == unwanted.RawValue);
        if (place >= 0)
            return Without(places[place]);
        throw new KernelArgumentException(unwanted.Text, unwanted.RawValue is null
            ? $"{unwanted.Key} is there {places.Count} times; say which: {unwanted.Key}=VALUE"
            : "it is not there to delete");
    }

    private List<int> PlacesOf(KernelArgument wanted)
    {
        List<int> places = [.. ForKernel().Index().Where(each => each.Item.Key == wanted.Key).Select(static each => each.Index)];
        return places.Count > 0 ? places : throw new KernelArgumentException(wanted.Text, $"there is no {wanted.Key}");
    }

    private KernelArguments With(int place, KernelArgument argument) => new(arguments.Select((each, at) => at == place ? argument : each));

    private KernelArguments Without(int place) => new(arguments.Where((_, at) => at != place));

    private static List<KernelArgument> Split(string line)
    {
        var found = new List<KernelArgument>();
        int start = 0;
        bool quoted = false;
        for (int at = 0; at <= line.Length; at++)
        {
            if (at < line.Length && line[at] == '"')
                quoted = !quoted;
            if (at < line.Length && (quoted || !KernelArgument.IsBlank(line[at])))
                continue;
            if (at > start)
                found.Add(new KernelArgument(line[start..at]));
            start = at + 1;
        }

        return found;
    }
}
