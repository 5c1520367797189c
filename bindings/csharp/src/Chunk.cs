// One piece of a generation.
namespace Gptq
{
    /// <summary>A token, and the text that it completes.</summary>
    public struct Chunk
    {
        /// <summary>The text: whole characters, and "" while one is incomplete. All texts of a generation one after another
        /// are the whole.</summary>
        public string Text { get; }

        /// <summary>The token's id; -1 for a chunk that only completes held-back text.</summary>
        public int Token { get; }

        /// <summary>A chunk of this text and token.</summary>
        public Chunk(string text, int token)
        {
            Text = text;
            Token = token;
        }

        // What there is where there is no chunk.
        internal static readonly Chunk None = new Chunk("", -1);

        /// <summary>The text.</summary>
        public override string ToString()
        {
            return Text;
        }
    }
}
